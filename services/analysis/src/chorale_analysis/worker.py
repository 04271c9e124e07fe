"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from chorale_audio.source import Source

from chorale_analysis.listening import SILENCE_DBFS, Silent
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
    *,
    progress: Progress,
) -> dict[str, Finding]:
    """Reads the source from object storage and finds all that is wished for, each by its maker."""
    from chorale_analysis.together import Company

    company = Company(wishes, makers)
    _listen(source, company.listeners, progress)
    progress("deciding", _READ_SHARE)
    return company.find(source.duration_seconds)


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
