"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from chorale_audio.source import Source

from chorale_analysis.listening import SILENCE_DBFS, Silent
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.tonality import KeySettings, Tonality

if TYPE_CHECKING:
    from chorale_audio.pcm import Samples

_READ_SHARE = 0.8  # of the work; the rest is deciding
Progress = Callable[[str, float], None]


class Listener(Protocol):
    """Takes mono sound in blocks."""

    def push(self, block: "Samples") -> None:
        """Listens to the next block."""


# Music is imported where it runs: scipy and numba take longer to import than the service to start.


def warm() -> None:
    """Imports and compiles what work will need."""
    import numpy as np

    from chorale_analysis import beats, key, state_space  # noqa: F401 - imported for its own sake

    state_space.decode(np.full(64, 0.5), np.arange(8, 12), np.zeros(4), 100.0)


def track_beats(source: Source, settings: RhythmSettings, *, progress: Progress) -> Rhythm:
    """Reads the source from object storage and finds its beats, in a process of the pool."""
    from chorale_analysis.beats import track_beats
    from chorale_analysis.onsets import OnsetListener

    listener = OnsetListener()
    _listen(source, listener, progress)
    progress("deciding", _READ_SHARE)
    return track_beats(listener.finish(), source.duration_seconds, settings)


def detect_key(source: Source, settings: KeySettings, *, progress: Progress) -> Tonality:
    """Reads the source from object storage and finds its key, in a process of the pool."""
    from chorale_analysis.chroma import ChromaListener
    from chorale_analysis.key import detect_key

    listener = ChromaListener()
    _listen(source, listener, progress)
    progress("deciding", _READ_SHARE)
    return detect_key(listener.finish(), source.duration_seconds, settings)


def _listen(source: Source, listener: Listener, progress: Progress) -> None:
    """Gives a listener all sound, mixed and resampled; raises `Silent` when there was none."""
    import numpy as np
    from chorale_audio.shaping import Shaper

    from chorale_analysis.spectra import RATE_HZ

    progress("reading", 0.0)
    shaper, peak, frames, told = Shaper(source, RATE_HZ, mono=True), 0.0, 0, 0.0
    for block in source.blocks():
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        listener.push(shaper.push(block)[:, 0])
        frames += len(block)
        share = frames / source.frame_count
        if share >= told + 0.02:
            told = share
            progress("listening", share * _READ_SHARE)
    listener.push(shaper.finish()[:, 0])
    peak_dbfs = 20.0 * float(np.log10(max(peak, 1e-10)))
    if peak_dbfs < SILENCE_DBFS:
        raise Silent(source.audio, peak_dbfs)
