"""The engines whose published weights are brought as files: `beatnet` and `skey`."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from chorale_analysis.bar_space import BarPath, decode_bars, tempi
from chorale_analysis.beats import local_intervals
from chorale_analysis.key import unmoved
from chorale_analysis.rhythm import NO_RHYTHM, Beat, Meter, Rhythm, RhythmSettings, Tempo
from chorale_analysis.spectra import RATE_HZ, Array
from chorale_analysis.state_space import Floats
from chorale_analysis.tonality import Tonality
from chorale_analysis.weights import BEATNET, SKEY, fill
from chorale_analysis.wishes import Finding, Settings

if TYPE_CHECKING:
    from chorale_analysis.networks.beatnet import BeatNet
    from chorale_analysis.networks.skey import SKey

_BARS = (2, 3, 4)
_ACTIVE = 0.05  # activations below say nothing
_LEAST_KEY_SECONDS = 8.0  # the network halves its frames seven times: shorter sound is repeated


class PublishedEars:
    """Listens for all that is wished of one such engine. Holds the whole sound."""

    rate_hz = RATE_HZ

    def __init__(self, wishes: Mapping[str, Settings], path: str) -> None:
        self._wishes, self._path = wishes, path
        self._sound: list[Array] = []

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._sound.append(block)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """All that was wished for, once the stream has ended."""
        sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.float32)
        found: dict[str, Finding] = {}
        for name, settings in self._wishes.items():
            if isinstance(settings, RhythmSettings):
                found[name] = _rhythm(self._path, sound, duration_seconds, settings)
            else:
                found[name] = _key(self._path, sound, duration_seconds)
        return found


@lru_cache(1)
def _beatnet(path: str) -> "BeatNet":
    from chorale_analysis.networks.beatnet import BeatNet

    network = BeatNet()
    fill(network, BEATNET.read(path), BEATNET.file)
    return network


@lru_cache(1)
def _skey(path: str) -> "SKey":
    from chorale_analysis.networks.skey import SKey

    network = SKey()
    fill(network, SKEY.read(path)["stone"], SKEY.file)
    return network


def _rhythm(path: str, sound: Array, duration_seconds: float, settings: RhythmSettings) -> Rhythm:
    from chorale_analysis.networks.beatnet import FRAMES_PER_SECOND, activations

    heard = activations(_beatnet(path), sound)
    if not len(heard) or float(heard.max()) < settings.threshold:
        return NO_RHYTHM
    return rhythm_of(heard, FRAMES_PER_SECOND, duration_seconds, settings)


def rhythm_of(
    heard: Floats, frames_per_second: float, duration_seconds: float, settings: RhythmSettings
) -> Rhythm:
    """The rhythm by chances `(frames, 2)` of beats within bars and of those that begin them."""
    periods = tempi(frames_per_second, settings.bpm_min, settings.bpm_max)
    lengths = settings.beats_per_bar or _BARS
    paths = [_path(heard, periods, length, settings.transition_lambda) for length in lengths]
    loud = heard.max(axis=1)
    best = int(np.argmax([path.score for path in paths]))
    path = paths[best]
    sounding = np.flatnonzero(loud[path.frames] >= _ACTIVE)
    if len(sounding) < 3:
        return NO_RHYTHM
    frames = path.frames[sounding[0] : sounding[-1] + 1]
    places = path.places[sounding[0] : sounding[-1] + 1]
    seconds = np.minimum(frames / frames_per_second, duration_seconds)
    intervals = np.diff(seconds)
    bpm, clear = 60.0 / float(np.median(intervals)), float(loud[frames].mean())
    scores = np.array([len(loud) / len(frames) * one.score for one in paths])
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    local = local_intervals(intervals)
    return Rhythm(
        beats=tuple(
            Beat(float(at), float(loud[frame] / loud.max()), float(loud[frame]), int(place))
            for at, frame, place in zip(seconds, frames, places, strict=True)
        ),
        bpm=bpm,
        bpm_confidence=clear,
        stability=float(np.clip(1.0 - intervals.std() / np.median(intervals), 0.0, 1.0)),
        candidates=(Tempo(bpm, clear), *(Tempo(bpm * r, (1.0 - clear) / 2) for r in (0.5, 2.0))),
        curve_bpm=tuple((60.0 / local[: len(frames)]).tolist()),
        meters=tuple(
            Meter(
                lengths[n],
                float(chances[n]),
                tuple((paths[n].frames[paths[n].places == 1] / frames_per_second).tolist()),
            )
            for n in sorted(range(len(paths)), key=lambda n: (n != best, -chances[n]))
        ),
    )


def _path(
    heard: Floats, periods: "np.ndarray[tuple[int], np.dtype[np.int64]]", length: int, stiff: float
) -> BarPath:
    return decode_bars(heard[:, 0], heard[:, 1], periods, length, stiff)


def _key(path: str, sound: Array, duration_seconds: float) -> Tonality:
    from chorale_analysis.networks.skey import chances

    least = int(_LEAST_KEY_SECONDS * RATE_HZ)
    by_key = chances(_skey(path), np.resize(sound, least) if len(sound) < least else sound)
    return unmoved(by_key, duration_seconds)
