"""Decoding off the event loop: confined children, a bounded queue, cancellation.

The service is the only one that touches object storage: a child asks for bytes by
position and hands back frames. What it hands back is held to its form, its size and the
frames that were allowed; a child that crashes, hangs or lies costs one request.
"""

import asyncio
import dataclasses
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from chorale_runtime.dependencies import DependencyUnavailable

from chorale_ingest import sniffing
from chorale_ingest.decoded import AudioTooLong, Decoded, Undecodable
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.worker import pipe
from chorale_ingest.worker.confinement import Confinement, Limits

logger = logging.getLogger(__name__)

START_SECONDS, STOP_SECONDS = 20.0, 5.0
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


class DecoderLost(DependencyUnavailable):
    """A decoder went away through no fault of the file; trying again may help."""

    def __init__(self, detail: str) -> None:
        super().__init__("decoder", detail)


class Decoders:
    """Runs at most `count` decodings at a time; `waiting_max` more may wait."""

    def __init__(
        self, count: int, waiting_max: int, cpu_seconds: int, memory_bytes: int, idle_seconds: float
    ) -> None:
        self._slots = asyncio.Semaphore(count)
        self._count, self._waiting_max, self._busy = count, waiting_max, 0
        self._cpu_seconds, self._memory_bytes = cpu_seconds, memory_bytes
        self._idle_seconds = idle_seconds
        self._starting: asyncio.Task[Nursery] | None = None

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
            await _stop(decoders._starting)

    @property
    def confinement(self) -> Confinement | None:
        """What holds the decoders, once there was one."""
        nursery = self._started()
        return nursery.facts if nursery else None

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
        nursery = await self._running_nursery()
        child = await nursery.hatch(limits, source.size_bytes)
        try:
            return await Listening(child, source, sink, self._idle_seconds).run()
        finally:
            await child.let_go()

    async def _running_nursery(self) -> "Nursery":
        nursery = self._started()
        if self._starting is None or (self._starting.done() and not (nursery and nursery.alive)):
            self._starting = asyncio.create_task(_replacing(self._starting))
        # Shielded: a caller who gives up must not take it from the others.
        return await asyncio.shield(self._starting)

    def _started(self) -> "Nursery | None":
        task = self._starting
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()


class Child:
    """One decoder, seen from the service."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, leash: socket.socket
    ) -> None:
        self.reader, self.writer, self._leash = reader, writer, leash

    async def exit_status(self) -> int | None:
        """How it ended: an exit code, or a signal's number below zero; None if nobody knows."""
        loop = asyncio.get_running_loop()
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(2.0):
                return int(await loop.sock_recv(self._leash, 16))
        return None

    async def let_go(self) -> None:
        """Close both ends, which kills the process if it still runs."""
        self._leash.close()
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Nursery:
    """The process that children are forked from, seen from the service."""

    def __init__(
        self, process: subprocess.Popen[bytes], commands: socket.socket, facts: Confinement
    ) -> None:
        self._process, self._commands, self.facts = process, commands, facts

    @classmethod
    async def start(cls) -> "Nursery":
        """Start it and wait until it can fork."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.to_thread(_spawn, theirs)
        ours.setblocking(False)
        try:
            async with asyncio.timeout(START_SECONDS):
                told = await asyncio.get_running_loop().sock_recv(ours, 4096)
            facts = Confinement(**json.loads(told))
        except (TimeoutError, OSError, ValueError) as error:
            ours.close()
            process.kill()
            await asyncio.to_thread(process.wait)
            raise DecoderLost(f"the decoder process did not start: {error!r}") from error
        logger.info("decoder_started", extra=dataclasses.asdict(facts))
        if not facts.seccomp:
            logger.warning(
                "decoder_confined_by_limits_only: no seccomp filter is known for this platform"
            )
        return cls(process, ours, facts)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    async def hatch(self, limits: Limits, size_bytes: int) -> Child:
        """Fork one confined child and connect to it."""
        line, their_line = socket.socketpair()
        leash, their_leash = socket.socketpair()
        line.setblocking(False)
        leash.setblocking(False)
        order = json.dumps({**dataclasses.asdict(limits), "size_bytes": size_bytes}).encode()
        with their_line, their_leash:
            try:
                # A packet of a few bytes to a process that does nothing but wait for it.
                socket.send_fds(
                    self._commands, [order], [their_line.fileno(), their_leash.fileno()]
                )
            except OSError as error:
                line.close()
                leash.close()
                raise DecoderLost(f"the decoder process is gone: {error}") from error
        reader, writer = await asyncio.open_connection(sock=line, limit=2 * pipe.BLOCK_BYTES)
        return Child(reader, writer, leash)

    async def stop(self) -> None:
        """Let it end, with every child; it ends by itself when the service dies."""
        self._commands.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


async def _replacing(before: asyncio.Task[Nursery] | None) -> Nursery:
    await _stop(before)
    return await Nursery.start()


async def _stop(task: asyncio.Task[Nursery] | None) -> None:
    if task is not None:
        with suppress(DecoderLost):
            await (await task).stop()


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
            await handlers[kind](payload)

    async def _message(self) -> tuple[pipe.Kind, bytes]:
        try:
            async with asyncio.timeout(self._idle_seconds):
                kind, length = pipe.HEADER.unpack(
                    await self._child.reader.readexactly(pipe.HEADER.size)
                )
                if length > pipe.PAYLOAD_BYTES_MAX:
                    raise self._undecodable("the decoder broke down on it")
                return pipe.Kind(kind), await self._child.reader.readexactly(length)
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
        self._child.writer.write(pipe.ANSWER.pack(len(data)))
        self._child.writer.write(data)
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


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    # Not the event loop's own way: that is a plain fork, in whose child gRPC's fork handlers run
    # and sometimes crash. This one is a vfork, which runs none.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "chorale_ingest.worker.nursery", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        # A thread in the parent of a fork may hold a lock the child then waits for.
        env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **_environment()},
    )


def _environment() -> dict[str, str]:
    """What Python needs to start, and no secret of the service."""
    kept = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "HOME", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}
