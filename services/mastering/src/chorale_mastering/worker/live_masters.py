"""Mastering sound while it comes, on threads; the kernels let go of the interpreter lock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from chorale_audio.encoding import Encoding
from chorale_runtime.processes import QueueFull

from chorale_mastering.loudness import Loudness
from chorale_mastering.worker import FramesTorn, SoundTooLong

if TYPE_CHECKING:
    from chorale_mastering.block import Samples
    from chorale_mastering.brief import Format
    from chorale_mastering.live import LiveMaster
    from chorale_mastering.meter import Meter
    from chorale_mastering.plan import MasteringPlan

T = TypeVar("T")

_THREADS = 2
_RETRY_AFTER_SECONDS = 5.0
_READINGS_PER_SECOND = 10  # of sound


@dataclass(frozen=True)
class Piece:
    """Mastered frames, where they belong, and at times what was measured so far."""

    start_frame: int
    frame_count: int
    data: bytes
    loudness: Loudness | None = None


class LiveMasters:
    """Lends live masters, of which so many may run at once."""

    def __init__(self, limit: int, seconds_max: float) -> None:
        self._limit, self._seconds_max = limit, seconds_max
        self._running = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="master")

    @asynccontextmanager
    async def open(self, plan: "MasteringPlan", sound: "Format") -> AsyncIterator["LiveMastering"]:
        """Lends one; raises `QueueFull` when all are in use, and `BandTooHigh`."""
        if self._running >= self._limit:
            raise QueueFull("mastering.live", self._limit, _RETRY_AFTER_SECONDS)
        self._running += 1
        try:
            loop = asyncio.get_running_loop()
            made = await loop.run_in_executor(self._threads, _begun, plan, sound)
            yield LiveMastering(self._threads, *made, sound, self._seconds_max)
        finally:
            self._running -= 1

    def close(self) -> None:
        """Lets go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class LiveMastering:
    """One stream: frames in, as many mastered frames out, counted in the input."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        master: "LiveMaster",
        meter: "Meter",
        sound: "Format",
        seconds_max: float,
    ) -> None:
        self._threads, self._master, self._meter = threads, master, meter
        self._sound, self._seconds_max = sound, seconds_max
        self._taken = 0

    @property
    def latency_frames(self) -> int:
        """How far the output may lie behind the input."""
        return self._master.latency_frames

    async def push(self, data: bytes) -> Piece:
        """Masters the next bytes; raises `FramesTorn`, `NotFinite` and `SoundTooLong`."""
        frame_bytes = Encoding.F32LE.sample_bytes * self._sound.channel_count
        if len(data) % frame_bytes:
            raise FramesTorn(len(data), frame_bytes)
        self._taken += len(data) // frame_bytes
        if self._taken > self._seconds_max * self._sound.sample_rate_hz:
            raise SoundTooLong(self._taken / self._sound.sample_rate_hz, self._seconds_max)
        return await self._on_thread(self._push, data)

    async def finish(self) -> Piece:
        """The rest, and what all of it measures."""
        return await self._on_thread(self._finish)

    def _push(self, data: bytes) -> Piece:
        from chorale_audio.pcm import decoded

        block = decoded(data, Encoding.F32LE, self._sound.channel_count)
        return self._piece(self._master.process(block))

    def _finish(self) -> Piece:
        return self._piece(self._master.flush(), is_last=True)

    def _piece(self, frames: "Samples", is_last: bool = False) -> Piece:
        from chorale_audio.pcm import encoded

        meter, every = self._meter, self._sound.sample_rate_hz // _READINGS_PER_SECOND
        start = meter.frame_count
        meter.push(frames)
        if is_last:
            meter.finish()
        is_due = is_last or meter.frame_count // every > start // every
        return Piece(start, len(frames), encoded(frames), meter.read() if is_due else None)

    async def _on_thread(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _begun(plan: "MasteringPlan", sound: "Format") -> "tuple[LiveMaster, Meter]":
    from chorale_mastering.live import LiveMaster
    from chorale_mastering.meter import Meter
    from chorale_mastering.weighting import CHANNEL_WEIGHTS

    count = sound.channel_count
    weights = CHANNEL_WEIGHTS.get(count, (1.0,) * count)
    return LiveMaster(plan, sound), Meter(sound.sample_rate_hz, count, weights)
