"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr
from chorale_audio.pcm import Encoding, decoded, mixed
from chorale_audio.source import Source

from chorale_fingerprint.codes import CODE_RATE_HZ, Codes, CodeWriter
from chorale_fingerprint.lowering import Lowered
from chorale_fingerprint.peaks import TIMES_PER_SECOND, Peaks, PeakWriter

# What every process imports before its first work: nothing, so that an idle service stays small.
# The first song pays the 0.3 s.
PRELOAD: tuple[str, ...] = ()
_LOUDEST = 16.0


def write_codes(source: Source, *, progress: Callable[[str, float], None]) -> Codes:
    """Reads the source from object storage and writes its codes, in a process of the pool."""
    lowered = Lowered(source.sample_rate_hz, source.channel_count)
    writer = CodeWriter(CODE_RATE_HZ)
    read = 0
    for block in source.blocks():
        writer.push(lowered.push(block))
        read += len(block)
        progress("listening", read / source.frame_count)
    writer.push(lowered.finish())
    return writer.finish()


@dataclass(frozen=True)
class Heard:
    """What a recording is known by, whole and in part."""

    codes: Codes
    peaks: Peaks


class Listener:
    """Takes blocks of sound, brings them down once, and writes codes and peaks."""

    def __init__(self, sample_rate_hz: int, channel_count: int) -> None:
        self._codes, self._peaks = CodeWriter(CODE_RATE_HZ), PeakWriter(CODE_RATE_HZ)
        self._lowered = Lowered(sample_rate_hz, channel_count)

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Takes the next frames, `(frames, channels)`."""
        self._feed(self._lowered.push(block))

    def finish(self) -> Heard:
        """Takes the end of the sound."""
        self._feed(self._lowered.finish())
        return Heard(self._codes.finish(), self._peaks.finish())

    def _feed(self, block: npt.NDArray[np.float32]) -> None:
        self._codes.push(block)
        self._peaks.push(block)


class FramesTorn(Exception):
    """The bytes of a message are not whole frames."""

    def __init__(self, size_bytes: int, frame_bytes: int) -> None:
        super().__init__(size_bytes, frame_bytes)
        self.reason, self.size_bytes, self.frame_bytes = "not_whole", size_bytes, frame_bytes

    def __str__(self) -> str:
        return f"{self.size_bytes} bytes are not whole frames of {self.frame_bytes} bytes."


class NotFinite(Exception):
    """The sound holds NaN or infinity."""

    def __init__(self, frame: int) -> None:
        super().__init__(frame)
        self.reason, self.frame = "not_finite", frame

    def __str__(self) -> str:
        return f"Frame {self.frame} is not a finite number; every sample must be."


class LiveEar:
    """Listens to sound that comes as it plays; remembers the peaks of the last while."""

    def __init__(self, sample_rate_hz: int, channel_count: int) -> None:
        self.sample_rate_hz, self.channel_count = sample_rate_hz, channel_count
        self.frame_count = 0
        self._peaks = PeakWriter(CODE_RATE_HZ)
        self._resampler = soxr.ResampleStream(sample_rate_hz, CODE_RATE_HZ, 1, dtype="float32")

    @property
    def seconds(self) -> float:
        """How much has come."""
        return self.frame_count / self.sample_rate_hz

    def push(self, data: bytes) -> None:
        """Takes the next bytes; raises `FramesTorn` and `NotFinite`."""
        frame_bytes = Encoding.F32LE.sample_bytes * self.channel_count
        if len(data) % frame_bytes:
            raise FramesTorn(len(data), frame_bytes)
        block = decoded(data, Encoding.F32LE, self.channel_count)
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(wrong):
            raise NotFinite(self.frame_count + int(wrong[0]))
        self.frame_count += len(block)
        # Far louder than full scale, sums of samples would leave what a float holds.
        mono = mixed(np.clip(block, -_LOUDEST, _LOUDEST))[:, 0]
        self._peaks.push(self._resampler.resample_chunk(np.ascontiguousarray(mono)))

    def last(self, seconds: float) -> Peaks:
        """The peaks of the last seconds."""
        return self._peaks.so_far((self.seconds - seconds) * TIMES_PER_SECOND)


def listen(source: Source, *, progress: Callable[[str, float], None]) -> Heard:
    """Reads the source from object storage and writes codes and peaks, in a process."""
    listener = Listener(source.sample_rate_hz, source.channel_count)
    read = 0
    for block in source.blocks():
        listener.push(block)
        read += len(block)
        progress("listening", read / source.frame_count)
    return listener.finish()
