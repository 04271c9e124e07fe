"""Music off the event loop: in the process pool, and on threads while sound comes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from chorale_audio.encoding import Encoding
from chorale_audio.source import Source
from chorale_runtime.processes import QueueFull

from chorale_mastering.loudness import Loudness, Reading

if TYPE_CHECKING:
    from chorale_mastering.block import Samples
    from chorale_mastering.meter import Meter
    from chorale_mastering.spectrum import SpectrumGatherer

T = TypeVar("T")

_LIVE_THREADS = 2
_RETRY_AFTER_SECONDS = 5.0
_READINGS_PER_SECOND_MAX = 100  # of sound: one for every step the meter takes


class FramesTorn(Exception):
    """The bytes of a message are not whole frames."""

    def __init__(self, size_bytes: int, frame_bytes: int) -> None:
        super().__init__(size_bytes, frame_bytes)
        self.reason, self.size_bytes, self.frame_bytes = "not_whole", size_bytes, frame_bytes

    def __str__(self) -> str:
        return f"{self.size_bytes} bytes are not whole frames of {self.frame_bytes} bytes."


class SoundTooLong(Exception):
    """A live meter was given more sound than it may take."""

    def __init__(self, duration_seconds: float, limit_seconds: float) -> None:
        super().__init__(duration_seconds, limit_seconds)
        self.duration_seconds, self.limit_seconds = duration_seconds, limit_seconds

    def __str__(self) -> str:
        return (
            f"The sound is {self.duration_seconds:.0f} s long;"
            f" a live meter takes {self.limit_seconds:.0f} s."
        )


# Music is imported where it runs: numba alone takes longer to import than the service to start.


def warm() -> None:
    """Imports and compiles what work will need."""
    import numpy as np

    from chorale_mastering.brief import Brief, Format
    from chorale_mastering.mastering import master
    from chorale_mastering.plan import planned

    noise = np.random.default_rng(0).standard_normal((8000, 2)).astype(np.float32)
    brief = Brief(planned(), Format(8000, 2), len(noise))
    master([noise], brief, lambda _stage, _share: None).close()


def measure_loudness(
    source: Source,
    weights: tuple[float, ...],
    curve_points: int,
    *,
    progress: Callable[[str, float], None],
) -> Loudness:
    """Reads the source from object storage and measures it, in a process of the pool."""
    from chorale_mastering.measuring import measure
    from chorale_mastering.meter import Meter

    progress("reading", 0.0)
    meter = Meter(source.sample_rate_hz, source.channel_count, weights, curve_points)
    return measure(
        source.blocks(), meter, source.frame_count, lambda share: progress("measuring", share)
    )


class LiveMeters:
    """Meters of sound that comes as it plays; the kernels let go of the interpreter lock."""

    def __init__(self, limit: int, seconds_max: float) -> None:
        self._limit, self._seconds_max = limit, seconds_max
        self._running = 0
        self._threads = ThreadPoolExecutor(_LIVE_THREADS, thread_name_prefix="meter")

    @asynccontextmanager
    async def open(
        self, sample_rate_hz: int, weights: tuple[float, ...], interval_frames: int
    ) -> AsyncIterator["LiveMeter"]:
        """Lends a meter; raises `QueueFull` when all are in use.

        `interval_frames` of 0 means 100 ms; less than 10 ms is raised to that.
        """
        if self._running >= self._limit:
            raise QueueFull("mastering.live", self._limit, _RETRY_AFTER_SECONDS)
        self._running += 1
        try:
            loop = asyncio.get_running_loop()
            meter = await loop.run_in_executor(self._threads, _new_meter, sample_rate_hz, weights)
            least = -(-sample_rate_hz // _READINGS_PER_SECOND_MAX)
            interval = max(interval_frames or sample_rate_hz // 10, least)
            yield LiveMeter(self._threads, meter, interval, self._seconds_max)
        finally:
            self._running -= 1

    def close(self) -> None:
        """Lets go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class LiveMeter:
    """One meter, read at every interval of sound."""

    def __init__(
        self, threads: ThreadPoolExecutor, meter: "Meter", interval_frames: int, seconds_max: float
    ) -> None:
        self._threads, self._meter = threads, meter
        self._spectrum: SpectrumGatherer | None = None  # made on its thread: it brings numpy
        self._interval_frames, self._seconds_max = interval_frames, seconds_max

    async def push(self, data: bytes) -> Sequence[Reading]:
        """Measures the next bytes; returns a reading for every interval that they complete.

        Raises `FramesTorn`, `NotFinite` and `SoundTooLong`.
        """
        frame_bytes = Encoding.F32LE.sample_bytes * self._meter.channel_count
        if len(data) % frame_bytes:
            raise FramesTorn(len(data), frame_bytes)
        frames = self._meter.frame_count + len(data) // frame_bytes
        if frames > self._seconds_max * self._meter.sample_rate_hz:
            raise SoundTooLong(frames / self._meter.sample_rate_hz, self._seconds_max)
        return await self._on_thread(self._push, data)

    async def finish(self) -> Reading:
        """Reads the whole: what measuring the same frames at once would give."""
        return await self._on_thread(self._finish)

    def _push(self, data: bytes) -> Sequence[Reading]:
        from chorale_audio.pcm import decoded

        block = decoded(data, Encoding.F32LE, self._meter.channel_count)
        self._gather(block)
        readings = []
        while len(block):
            due = self._interval_frames - self._meter.frame_count % self._interval_frames
            self._meter.push(block[:due])
            if len(block) >= due:
                readings.append(self._read())
            block = block[due:]
        return readings

    def _finish(self) -> Reading:
        self._meter.finish()
        reading = self._read()
        if self._spectrum is None:
            return reading
        octaves = self._spectrum.read().third_octaves_db()
        return replace(reading, loudness=replace(reading.loudness, third_octaves_db=octaves))

    def _gather(self, block: "Samples") -> None:
        """The spectrum is told at the end: it is a mean of all."""
        if self._spectrum is None:
            from chorale_mastering.spectrum import MeanSpectrum

            meter = self._meter
            self._spectrum = MeanSpectrum.gatherer(meter.sample_rate_hz, meter.channel_count)
        self._spectrum.push(block)

    def _read(self) -> Reading:
        meter = self._meter
        return Reading(meter.momentary_lufs, meter.short_term_lufs, meter.read())

    async def _on_thread(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _new_meter(sample_rate_hz: int, weights: tuple[float, ...]) -> "Meter":
    from chorale_mastering.meter import Meter

    return Meter(sample_rate_hz, len(weights), weights)
