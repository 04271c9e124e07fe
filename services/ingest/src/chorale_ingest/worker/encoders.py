"""Encoding off the event loop, in the same confined processes that decode."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chorale_ingest.forms import Order
from chorale_ingest.worker import pipe
from chorale_ingest.worker.births import Births, Child, DecoderLost
from chorale_ingest.worker.confinement import Limits
from chorale_ingest.worker.decoders import SIGNAL_KILL, QueueFull, Source

CPU_SECONDS_BASE = 60
# Encoders run dozens of times faster than sound; this leaves the slowest a factor of ten.
CPU_SECONDS_PER_SECOND = 0.25


class EncodingFailed(Exception):
    """An encoder broke down on sound that we stored: a fault of ours."""

    def __init__(self, codec: str, status: int | None) -> None:
        super().__init__(codec, status)
        self._codec, self._status = codec, status

    def __str__(self) -> str:
        return f"The encoder {self._codec} ended with status {self._status}."


class Encoders:
    """Runs at most `count` encodings at a time; `waiting_max` more may wait."""

    def __init__(
        self, births: Births, count: int, waiting_max: int, memory_bytes: int, idle_seconds: float
    ) -> None:
        self._births, self._slots = births, asyncio.Semaphore(count)
        self._count, self._waiting_max, self._busy = count, waiting_max, 0
        self._memory_bytes, self._idle_seconds = memory_bytes, idle_seconds

    async def encode(
        self, source: Source, order: Order, take: Callable[[bytes], Awaitable[None]]
    ) -> bytes:
        """Encode what the source holds; hands over all but the file's head, which it returns.

        The source is read from its beginning to its end, once.
        """
        if self._busy >= self._count + self._waiting_max:
            raise QueueFull("ingest.encode", self._waiting_max)
        self._busy += 1
        try:
            async with self._slots:
                return await self._encode(source, order, take)
        finally:
            self._busy -= 1

    async def _encode(
        self, source: Source, order: Order, take: Callable[[bytes], Awaitable[None]]
    ) -> bytes:
        seconds = source.size_bytes / order.layout.frame_bytes / order.sample_rate_hz
        cpu_seconds = int(CPU_SECONDS_BASE + CPU_SECONDS_PER_SECOND * seconds)
        limits = Limits(cpu_seconds, self._memory_bytes, seconds)
        told = {key: value for key, value in vars(order).items() if key != "layout"}
        told["encoding"] = order.layout.encoding.value
        told["channel_count"] = order.layout.channel_count
        child = await self._births.hatch(limits, source.size_bytes, told)
        try:
            return await self._listen(child, source, order, take)
        finally:
            await child.let_go()

    async def _listen(
        self,
        child: Child,
        source: Source,
        order: Order,
        take: Callable[[bytes], Awaitable[None]],
    ) -> bytes:
        try:
            while True:
                async with asyncio.timeout(self._idle_seconds):
                    kind, payload = await child.message()
                if kind is pipe.Kind.HEAD:
                    return payload
                if kind is pipe.Kind.BODY:
                    await take(payload)
                elif kind is pipe.Kind.READ:
                    offset, length = pipe.REQUEST.unpack(payload)
                    child.answer(await source.read(offset, min(length, pipe.BLOCK_BYTES)))
                    with suppress(OSError):  # its end shows at the next message
                        await child.writer.drain()
                else:
                    raise EncodingFailed(order.codec, None)
        except (asyncio.IncompleteReadError, OSError):
            status = await child.exit_status()
            if status in (None, SIGNAL_KILL):
                raise DecoderLost(f"the encoder ended with status {status}") from None
            raise EncodingFailed(order.codec, status) from None
