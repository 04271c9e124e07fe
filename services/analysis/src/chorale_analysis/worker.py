"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from chorale_audio.source import Source

from chorale_analysis.dynamics import DynamicsSettings
from chorale_analysis.engine_trials import Outcome, Trial
from chorale_analysis.listening import SILENCE_DBFS, Silent
from chorale_analysis.structure import LEAST_VARIETY, NotDistinctive, Place
from chorale_analysis.wishes import Finding, Settings

if TYPE_CHECKING:
    from chorale_audio.pcm import Samples

    from chorale_analysis.levels import LevelListener

_READ_SHARE = 0.8  # of the work; the rest is deciding
Progress = Callable[[str, float], None]


class Listener(Protocol):
    """Takes mono sound in blocks, at its rate."""

    rate_hz: int

    def push(self, block: "Samples") -> None:
        """Listens to the next block."""


# Music is imported where it runs: scipy and numba take longer to import than the service to start.


def _untold(_stage: str, _share: float) -> None:
    """Progress of work whose caller just waits."""


def warm() -> None:
    """Imports and compiles what work will need, by doing a little of it."""
    import numpy as np

    from chorale_analysis import meter
    from chorale_analysis.harmony import ChordSettings
    from chorale_analysis.rhythm import RhythmSettings
    from chorale_analysis.together import Ears

    odds = np.zeros(8)  # noise has no bars to decode
    meter.way(odds, 4)
    meter.changing_way(odds, (2, 3, 4))
    ears = Ears({"beats": RhythmSettings(), "chords": ChordSettings()})
    ears.push(np.random.default_rng(0).standard_normal(1 << 15).astype(np.float32))
    ears.find(1.5)


def listen(
    source: Source,
    wishes: Mapping[str, Settings],
    makers: Mapping[str, str],
    weights: Mapping[str, str] = MappingProxyType({}),
    *,
    progress: Progress = _untold,
) -> dict[str, Finding]:
    """Reads the source from object storage and finds all that is wished for, each by its maker.

    `weights` says where the file of a maker is that needs one.
    """
    from chorale_analysis.levels import LevelListener
    from chorale_analysis.together import Company

    is_measured = [isinstance(wish, DynamicsSettings) for wish in wishes.values()]
    levels = None
    if any(is_measured):
        levels = LevelListener(source.sample_rate_hz, source.channel_count)
    company = Company(wishes, makers, weights, levels)
    peak_dbfs = _listen(source, company.listeners, progress, levels)
    if peak_dbfs < SILENCE_DBFS and not all(is_measured):  # silence has a level, and no music
        raise Silent(source.audio, peak_dbfs)
    progress("deciding", _READ_SHARE)
    return company.find(source.duration_seconds)


def locate(snippet: Source, song: Source, *, progress: Progress) -> Place:
    """Reads both from object storage and finds the one in the other."""
    from chorale_analysis.locating import BandListener
    from chorale_analysis.locating import locate as found

    ears = [BandListener(), BandListener()]
    if _listen(snippet, ears[:1], progress) < SILENCE_DBFS:
        raise NotDistinctive(0.0, LEAST_VARIETY)
    peak_dbfs = _listen(song, ears[1:], progress)
    if peak_dbfs < SILENCE_DBFS:
        raise Silent(song.audio, peak_dbfs)
    progress("deciding", _READ_SHARE)
    return found(ears[0].find(), ears[1].find())


def attempt(trials: Sequence[Trial], *, progress: Progress) -> list[Outcome]:
    """Tries engines on sounds of known truth, one after another."""
    from chorale_analysis import examples

    outcomes: list[Outcome] = []
    for trial in trials:
        progress("testing", len(outcomes) / len(trials))
        outcomes.append(examples.run(trial))
    return outcomes


def _listen(
    source: Source,
    listeners: Sequence[Listener],
    progress: Progress,
    levels: "LevelListener | None" = None,
) -> float:
    """Gives listeners all sound, mixed and resampled, and `levels` as it is; its peak in dBFS."""
    import numpy as np
    from chorale_audio.shaping import Shaper

    progress("reading", 0.0)
    shapers = [Shaper(source, listener.rate_hz, mono=True) for listener in listeners]
    peak, frames, told = 0.0, 0, 0.0
    for block in source.blocks():
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        if levels is not None:
            levels.push(block)
        for shaper, listener in zip(shapers, listeners, strict=True):
            listener.push(shaper.push(block)[:, 0])
        frames += len(block)
        share = frames / source.frame_count
        if share >= told + 0.02:
            told = share
            progress("listening", share * _READ_SHARE)
    for shaper, listener in zip(shapers, listeners, strict=True):
        listener.push(shaper.finish()[:, 0])
    return 20.0 * float(np.log10(max(peak, 1e-10)))
