"""Decoding off the event loop: confined children, a bounded queue, cancellation.

The service is the only one that touches object storage: a child asks for bytes by
position and hands back frames. What it hands back is held to its form, its size and the
frames that were allowed; a child that crashes, hangs or lies costs one request.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from chorale_ingest import sniffing
from chorale_ingest.decoded import AudioTooLong, Decoded, Undecodable
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.worker import pipe
from chorale_ingest.worker.births import Births, Child, DecoderLost
from chorale_ingest.worker.confinement import Confinement, Limits

logger = logging.getLogger(__name__)

EXIT_BROKEN_SOURCE, EXIT_OUT_OF_MEMORY = 3, 4
SIGNAL_CPU, SIGNAL_KILL = -24, -9
TEXT_CHARACTERS_MAX = 500


class Source(Protocol):
    """A file that lies somewhere, readable at any position."""

    size_bytes: int

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read; fewer bytes come only at the end."""
        ...


class Sink(Protocol):
    """Where canonical PCM and the overview go."""

    async def pcm(self, data: bytes) -> None:
        """Take the next frames."""
        ...

    async def points(self, data: bytes) -> None:
        """Take the next points of the overview."""
        ...


class QueueFull(Exception):
    """As many files wait for a decoder as may."""

    def __init__(self, queue: str, limit: int, retry_after_seconds: float = 2.0) -> None:
        super().__init__(queue, limit, retry_after_seconds)
        self.queue, self.limit, self.retry_after_seconds = queue, limit, retry_after_seconds

    def __str__(self) -> str:
        return f"{self.limit} files are waiting to be decoded, which is the limit."


class Decoders:
    """Runs at most `count` decodings at a time; `waiting_max` more may wait."""

    def __init__(
        self, count: int, waiting_max: int, cpu_seconds: int, memory_bytes: int, idle_seconds: float
    ) -> None:
        self.births = Births()
        self._slots = asyncio.Semaphore(count)
        self._count, self._waiting_max, self._busy = count, waiting_max, 0
        self._cpu_seconds, self._memory_bytes = cpu_seconds, memory_bytes
        self._idle_seconds = idle_seconds

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        count: int,
        waiting_max: int,
        cpu_seconds: int,
        memory_bytes: int,
        idle_seconds: float,
    ) -> AsyncIterator["Decoders"]:
        """Yield decoders; the process they are born from starts with the first file."""
        decoders = cls(count, waiting_max, cpu_seconds, memory_bytes, idle_seconds)
        try:
            yield decoders
        finally:
            await decoders.births.stop()

    @property
    def confinement(self) -> Confinement | None:
        """What holds the decoders, once there was one."""
        return self.births.confinement

    async def decode(self, source: Source, sink: Sink, limit_seconds: float) -> Decoded:
        """Decode a file into the sink; cancelling kills the decoder at once."""
        if self._busy >= self._count + self._waiting_max:
            raise QueueFull("ingest.decode", self._waiting_max)
        self._busy += 1
        try:
            async with self._slots:
                return await self._decode(source, sink, limit_seconds)
        finally:
            self._busy -= 1

    async def _decode(self, source: Source, sink: Sink, limit_seconds: float) -> Decoded:
        limits = Limits(
            # Codecs run hundreds of times faster than sound; a slower file is an attack.
            cpu_seconds=int(self._cpu_seconds + limit_seconds / 50),
            memory_bytes=self._memory_bytes,
            duration_seconds=limit_seconds,
        )
        child = await self.births.hatch(limits, source.size_bytes)
        try:
            return await Listening(child, source, sink, self._idle_seconds).run()
        finally:
            await child.let_go()


class Listening:
    """One decoding, from the first message of the child to its result."""

    def __init__(self, child: Child, source: Source, sink: Sink, idle_seconds: float) -> None:
        self._child, self._source, self._sink = child, source, sink
        self._idle_seconds = idle_seconds
        self._pcm_bytes = 0
        self._head = b""

    async def run(self) -> Decoded:
        """Answer and take what comes until the child says what the file is."""
        handlers: dict[pipe.Kind, Callable[[bytes], Awaitable[None]]] = {
            pipe.Kind.READ: self._answer,
            pipe.Kind.PCM: self._take_pcm,
            pipe.Kind.POINTS: self._sink.points,
        }
        while True:
            kind, payload = await self._message()
            if kind is pipe.Kind.RESULT:
                return self._result(payload)
            if kind is pipe.Kind.REFUSAL:
                raise self._refusal(payload)
            if kind not in handlers:
                raise self._undecodable("the decoder broke down on it")
            await handlers[kind](payload)

    async def _message(self) -> tuple[pipe.Kind, bytes]:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._child.message()
        except TimeoutError:
            raise self._undecodable(
                f"the decoder made no progress in {self._idle_seconds:g} s"
            ) from None
        except ValueError:
            raise self._undecodable("the decoder broke down on it") from None
        except (asyncio.IncompleteReadError, OSError):
            raise await self._ended() from None

    async def _answer(self, request: bytes) -> None:
        offset, length = pipe.REQUEST.unpack(request)
        data = await self._source.read(offset, min(length, pipe.BLOCK_BYTES))
        if offset == 0:
            self._head = data[: sniffing.HEAD_BYTES]
        self._child.answer(data)
        with suppress(OSError):  # its end shows at the next message, with the reason
            await self._child.writer.drain()

    async def _take_pcm(self, data: bytes) -> None:
        self._pcm_bytes += len(data)
        await self._sink.pcm(data)

    async def _ended(self) -> Exception:
        """Tell a child that ended without a result by how it ended."""
        status = await self._child.exit_status()
        if status is None or status in (EXIT_BROKEN_SOURCE, SIGNAL_KILL):
            return DecoderLost(f"the decoder ended with status {status}")
        if status == SIGNAL_CPU:
            return self._undecodable("decoding it takes more time than its length could need")
        if status == EXIT_OUT_OF_MEMORY:
            return self._undecodable("decoding it takes more memory than is allowed")
        logger.warning("decoder_crashed", extra={"status": status})
        return self._undecodable("the decoder broke down on it")

    def _result(self, payload: bytes) -> Decoded:
        try:
            fields = json.loads(payload)
            decoded = Decoded(**{**fields, "warnings": tuple(fields["warnings"])})
            frame_bytes = Layout(Encoding(decoded.encoding), decoded.channel_count).frame_bytes
            if decoded.frame_count * frame_bytes != self._pcm_bytes or not self._pcm_bytes:
                raise ValueError("frames")
        except (ValueError, TypeError, KeyError):
            raise self._undecodable("the decoder broke down on it") from None
        return decoded

    def _refusal(self, payload: bytes) -> Exception:
        try:
            refusal = json.loads(payload)
            fields: dict[str, Any] = refusal["fields"]
            if refusal["type"] == AudioTooLong.__name__:
                return AudioTooLong(
                    float(fields["duration_seconds"]), float(fields["limit_seconds"])
                )
            return Undecodable(
                str(fields["found"])[:TEXT_CHARACTERS_MAX],
                str(fields["detail"])[:TEXT_CHARACTERS_MAX],
            )
        except (ValueError, TypeError, KeyError):
            return self._undecodable("the decoder broke down on it")

    def _undecodable(self, detail: str) -> Undecodable:
        return Undecodable(sniffing.media_type(self._head), detail)
