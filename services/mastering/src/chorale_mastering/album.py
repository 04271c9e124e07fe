"""An album: one loudness relation over many tracks."""

from collections.abc import Iterable, Sequence

import numpy as np

from chorale_mastering.block import Samples
from chorale_mastering.brief import Format
from chorale_mastering.energy import Energy
from chorale_mastering.gating import Energies, integrated_lufs
from chorale_mastering.plan import AlbumLoudness
from chorale_mastering.weighting import CHANNEL_WEIGHTS, highpass, shelf
from chorale_mastering.windows import Windows


class Programme:
    """The 400 ms powers of one track: what an album's loudness is gated from."""

    def __init__(self, sound: Format) -> None:
        rate, count = sound.sample_rate_hz, sound.channel_count
        weights = CHANNEL_WEIGHTS.get(count, (1.0,) * count)
        self._energy = Energy(rate, weights, (shelf(rate), highpass(rate)))
        self._windows = Windows(rate)

    def push(self, block: Samples) -> None:
        """Takes the next frames."""
        self._windows.push(self._energy.push(np.ascontiguousarray(block, np.float32)).weighted)

    def powers(self) -> Energies:
        """Mean squares of the 400 ms windows, 100 ms apart."""
        return self._windows.momentary()


def powers_of(blocks: Iterable[Samples], sound: Format) -> Energies:
    """The 400 ms powers of a whole track."""
    programme = Programme(sound)
    for block in blocks:
        programme.push(block)
    return programme.powers()


def album_lufs(tracks: Sequence[Energies]) -> float | None:
    """Integrated loudness of the tracks as one programme; no window spans two tracks."""
    return integrated_lufs(np.concatenate([*tracks, np.zeros(0)]))


def targets(
    tracks: Sequence[Energies], target_lufs: float, relation: AlbumLoudness
) -> tuple[float, ...]:
    """The loudness each track has to reach, so that the relation holds after limiting too.

    A track without loudness gets the album's target; it stays as it is.
    """
    heard = [integrated_lufs(track) for track in tracks]
    whole = album_lufs(tracks)
    loudest = max((level for level in heard if level is not None), default=None)
    if whole is None or loudest is None or relation is AlbumLoudness.EQUAL:
        return tuple(target_lufs for _ in tracks)
    base = whole if relation is AlbumLoudness.KEEP else loudest
    return tuple(target_lufs if level is None else target_lufs + level - base for level in heard)
