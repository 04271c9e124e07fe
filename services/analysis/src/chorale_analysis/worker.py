"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from chorale_audio.source import Source

from chorale_analysis.dynamics import Dynamics, DynamicsSettings
from chorale_analysis.engine_trials import Outcome, Trial
from chorale_analysis.listening import SILENCE_DBFS, Silent
from chorale_analysis.structure import LEAST_VARIETY, NotDistinctive, Place
from chorale_analysis.wishes import Finding, Settings

if TYPE_CHECKING:
    from chorale_audio.pcm import Samples

_READ_SHARE = 0.8  # of the work; the rest is deciding
Progress = Callable[[str, float], None]


class Listener(Protocol):
    """Takes mono sound in blocks, at its rate."""

    rate_hz: int

    def push(self, block: "Samples") -> None:
        """Listens to the next block."""


# Music is imported where it runs: scipy and numba take longer to import than the service to start.


def warm() -> None:
    """Imports and compiles what work will need, by doing a little of it."""
    import numpy as np

    from chorale_analysis.harmony import ChordSettings
    from chorale_analysis.rhythm import RhythmSettings
    from chorale_analysis.together import Ears

    ears = Ears({"beats": RhythmSettings(), "chords": ChordSettings()})
    ears.push(np.random.default_rng(0).standard_normal(1 << 15).astype(np.float32))
    ears.find(1.5)


def listen(
    source: Source,
    wishes: Mapping[str, Settings],
    makers: Mapping[str, str],
    weights: Mapping[str, str] = MappingProxyType({}),
    *,
    progress: Progress,
) -> dict[str, Finding]:
    """Reads the source from object storage and finds all that is wished for, each by its maker.

    `weights` says where the file of a maker is that needs one.
    """
    from chorale_analysis.together import Company

    company = Company(wishes, makers, weights)
    _listen(source, company.listeners, progress)
    progress("deciding", _READ_SHARE)
    return company.find(source.duration_seconds)


def listen_quietly(
    source: Source, wishes: Mapping[str, Settings], makers: Mapping[str, str]
) -> dict[str, Finding]:
    """The same for a caller who waits for it."""
    return listen(source, wishes, makers, progress=lambda _stage, _share: None)


def measure(source: Source, settings: DynamicsSettings, *, progress: Progress) -> Dynamics:
    """Reads the source from object storage and measures its level and loudness."""
    from chorale_audio.shaping import Shaper

    from chorale_analysis.levels import DynamicsListener

    progress("reading", 0.0)
    listener = DynamicsListener(source.sample_rate_hz, source.channel_count)
    shaper, frames = Shaper(source, listener.rate_hz, mono=True), 0
    for block in source.blocks():
        listener.push(block)
        listener.hear(shaper.push(block)[:, 0])
        frames += len(block)
        progress("measuring", frames / source.frame_count)
    listener.hear(shaper.finish()[:, 0])
    return listener.find(settings)


def locate(snippet: Source, song: Source, *, progress: Progress) -> Place:
    """Reads both from object storage and finds the one in the other."""
    from chorale_analysis.locating import BandListener
    from chorale_analysis.locating import locate as found

    ears = [BandListener(), BandListener()]
    try:
        _listen(snippet, ears[:1], progress)
    except Silent:
        raise NotDistinctive(0.0, LEAST_VARIETY) from None
    _listen(song, ears[1:], progress)
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


def _listen(source: Source, listeners: Sequence[Listener], progress: Progress) -> None:
    """Gives listeners all sound, mixed and resampled; raises `Silent` when there was none."""
    import numpy as np
    from chorale_audio.shaping import Shaper

    progress("reading", 0.0)
    shapers = [Shaper(source, listener.rate_hz, mono=True) for listener in listeners]
    peak, frames, told = 0.0, 0, 0.0
    for block in source.blocks():
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        for shaper, listener in zip(shapers, listeners, strict=True):
            listener.push(shaper.push(block)[:, 0])
        frames += len(block)
        share = frames / source.frame_count
        if share >= told + 0.02:
            told = share
            progress("listening", share * _READ_SHARE)
    for shaper, listener in zip(shapers, listeners, strict=True):
        listener.push(shaper.finish()[:, 0])
    peak_dbfs = 20.0 * float(np.log10(max(peak, 1e-10)))
    if peak_dbfs < SILENCE_DBFS:
        raise Silent(source.audio, peak_dbfs)
