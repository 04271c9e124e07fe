"""Where the confined processes come from, seen from the service."""

import asyncio
import dataclasses
import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from chorale_runtime.dependencies import DependencyUnavailable

from chorale_ingest.worker import pipe
from chorale_ingest.worker.confinement import Confinement, Limits

logger = logging.getLogger(__name__)

START_SECONDS, STOP_SECONDS = 20.0, 5.0


class DecoderLost(DependencyUnavailable):
    """A decoder went away through no fault of the file; trying again may help."""

    def __init__(self, detail: str) -> None:
        super().__init__("decoder", detail)


class Births:
    """Gives birth to confined processes; the one they are forked from starts with the first."""

    def __init__(self) -> None:
        self._starting: asyncio.Task[Nursery] | None = None

    @property
    def confinement(self) -> Confinement | None:
        """What holds them, once there was one."""
        nursery = self._started()
        return nursery.facts if nursery else None

    async def hatch(
        self, limits: Limits, size_bytes: int, encode: dict[str, Any] | None = None
    ) -> "Child":
        """Fork one that decodes, or encodes as it is told, a file of that size."""
        return await (await self._running_nursery()).hatch(limits, size_bytes, encode)

    async def stop(self) -> None:
        """End them all."""
        await _stop(self._starting)

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

    async def message(self) -> tuple[pipe.Kind, bytes]:
        """The next message; ValueError if it is none."""
        kind, length = pipe.HEADER.unpack(await self.reader.readexactly(pipe.HEADER.size))
        if length > pipe.PAYLOAD_BYTES_MAX:
            raise ValueError("length")
        return pipe.Kind(kind), await self.reader.readexactly(length)

    def answer(self, data: bytes) -> None:
        """Answer one READ."""
        self.writer.write(pipe.ANSWER.pack(len(data)))
        self.writer.write(data)

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

    async def hatch(
        self, limits: Limits, size_bytes: int, encode: dict[str, Any] | None = None
    ) -> Child:
        """Fork one confined child and connect to it."""
        line, their_line = socket.socketpair()
        leash, their_leash = socket.socketpair()
        line.setblocking(False)
        leash.setblocking(False)
        told = {**dataclasses.asdict(limits), "size_bytes": size_bytes, "encode": encode}
        order = json.dumps(told).encode()
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
