"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr
from chorale_audio.pcm import mixed
from chorale_audio.source import Source

from chorale_fingerprint.codes import CODE_RATE_HZ, Codes, CodeWriter
from chorale_fingerprint.peaks import Peaks, PeakWriter

# What every process imports before its first work: nothing, so that an idle service stays small.
# The first song pays the 0.3 s.
PRELOAD: tuple[str, ...] = ()


def write_codes(source: Source, *, progress: Callable[[str, float], None]) -> Codes:
    """Reads the source from object storage and writes its codes, in a process of the pool."""
    writer = CodeWriter(source.sample_rate_hz)
    read = 0
    for block in source.blocks():
        writer.push(mixed(block)[:, 0])
        read += len(block)
        progress("listening", read / source.frame_count)
    return writer.finish()


@dataclass(frozen=True)
class Heard:
    """What a recording is known by, whole and in part."""

    codes: Codes
    peaks: Peaks


class Listener:
    """Takes blocks of mono sound, resamples it once, and writes codes and peaks."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._codes, self._peaks = CodeWriter(CODE_RATE_HZ), PeakWriter(CODE_RATE_HZ)
        self._resampler = soxr.ResampleStream(sample_rate_hz, CODE_RATE_HZ, 1, dtype="float32")

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Takes the next frames."""
        self._feed(self._resampler.resample_chunk(block))

    def finish(self) -> Heard:
        """Takes the end of the sound."""
        self._feed(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        return Heard(self._codes.finish(), self._peaks.finish())

    def _feed(self, block: npt.NDArray[np.float32]) -> None:
        self._codes.push(block)
        self._peaks.push(block)


def listen(source: Source, *, progress: Callable[[str, float], None]) -> Heard:
    """Reads the source from object storage and writes codes and peaks, in a process."""
    listener = Listener(source.sample_rate_hz)
    read = 0
    for block in source.blocks():
        listener.push(mixed(block)[:, 0])
        read += len(block)
        progress("listening", read / source.frame_count)
    return listener.finish()
