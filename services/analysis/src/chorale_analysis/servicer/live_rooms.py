"""Processes that listen to streams: each stream stays in one, and each holds many."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from chorale_runtime.processes import Processes, QueueFull

from chorale_analysis.listening import TooLong
from chorale_analysis.live import room
from chorale_analysis.live.heard import Heard, Wanted, Whole

T = TypeVar("T")

_SAMPLE_BYTES = 4
_RETRY_AFTER_SECONDS = 5.0
_WARM_AFTER_SECONDS = 10.0  # what serves for less need not be ready for streams
_PIECE_SECONDS = 0.5  # heard at once, so that one stream's megabyte keeps no other waiting


class FramesTorn(Exception):
    """The bytes of a message are not whole frames."""

    def __init__(self, size_bytes: int, frame_bytes: int) -> None:
        super().__init__(size_bytes, frame_bytes)
        self.reason, self.size_bytes, self.frame_bytes = "not_whole", size_bytes, frame_bytes

    def __str__(self) -> str:
        return f"{self.size_bytes} bytes are not whole frames of {self.frame_bytes} bytes."


@dataclass
class _Room:
    processes: Processes
    stream_count: int = 0


class LiveRooms:
    """Lends ears, of which so many may listen at once, each for so long."""

    def __init__(
        self, opened: AsyncExitStack, count: int, streams_max: int, seconds_max: float
    ) -> None:
        self._opened, self._count = opened, count
        self._streams_max, self._seconds_max = streams_max, seconds_max
        self._rooms: list[_Room] = []
        self._opening = asyncio.Lock()
        self._going_on: set[asyncio.Task[Any]] = set()

    @classmethod
    @asynccontextmanager
    async def of(cls, count: int, streams_max: int, seconds_max: float) -> AsyncIterator[Self]:
        """Lends rooms until the block ends. They are there a little after the service is."""
        async with AsyncExitStack() as opened:
            live = cls(opened, count, streams_max, seconds_max)
            warming = asyncio.create_task(live._warm())
            try:
                yield live
            finally:
                warming.cancel()
                with suppress(asyncio.CancelledError):
                    await warming

    @asynccontextmanager
    async def open(self, wanted: Wanted, every_seconds: float) -> AsyncIterator["LiveEar"]:
        """Lends an ear in the room that has the fewest; raises `QueueFull`."""
        await self._begin()
        if sum(one.stream_count for one in self._rooms) >= self._streams_max:
            raise QueueFull("analysis.live", self._streams_max, _RETRY_AFTER_SECONDS)
        place = min(self._rooms, key=lambda one: one.stream_count)
        place.stream_count += 1
        name = uuid.uuid4().hex
        try:
            await self.run(place, room.begin, name, wanted)
            yield LiveEar(self, place, name, wanted, every_seconds, self._seconds_max)
        finally:
            place.stream_count -= 1
            self._start(place, room.end, name)

    async def run(self, place: _Room, function: Callable[..., T], *arguments: object) -> T:
        """Runs in a room. Who waits may give up; the others in that room are left alone."""
        return await asyncio.shield(self._start(place, function, *arguments))

    def _start(
        self, place: _Room, function: Callable[..., T], *arguments: object
    ) -> "asyncio.Task[T]":
        task = asyncio.create_task(place.processes.run(function, *arguments))
        self._going_on.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._going_on.discard(task)
        if not task.cancelled():
            task.exception()  # who waits for it, hears of it; else nobody needs to

    async def _begin(self) -> None:
        """Starts the processes, once."""
        async with self._opening:
            while len(self._rooms) < self._count:
                process = Processes.open(1, waiting_max=4 * self._streams_max + 4)
                self._rooms.append(_Room(await self._opened.enter_async_context(process)))

    async def _warm(self) -> None:
        await asyncio.sleep(_WARM_AFTER_SECONDS)
        await self._begin()
        for place in self._rooms:
            with suppress(Exception):  # what goes wrong here will go wrong in a stream, and be told
                await self.run(place, room.warm)


class LiveEar:
    """One stream: frames in as they come, what is new of them out."""

    def __init__(
        self,
        rooms: LiveRooms,
        place: _Room,
        name: str,
        wanted: Wanted,
        every_seconds: float,
        seconds_max: float,
    ) -> None:
        self._rooms, self._place, self._name = rooms, place, name
        self._frame_bytes = _SAMPLE_BYTES * wanted.channel_count
        self._rate, self._channels = wanted.sample_rate_hz, wanted.channel_count
        self._piece_bytes = self._bytes(_PIECE_SECONDS)
        self._least_bytes = min(self._bytes(every_seconds), self._piece_bytes)
        self._frames_max = round(seconds_max * wanted.sample_rate_hz)
        self._waiting = bytearray()
        self.frame_count = 0  # that came

    async def push(self, data: bytes) -> AsyncIterator[Heard]:
        """Listens to the next bytes, once enough have come; yields what is new.

        Raises `FramesTorn`, `NotFinite`, `TooLong` and `EarLost`.
        """
        if len(data) % self._frame_bytes:
            raise FramesTorn(len(data), self._frame_bytes)
        self.frame_count += len(data) // self._frame_bytes
        if self.frame_count > self._frames_max:
            limit = self._frames_max / self._rate
            raise TooLong(self.frame_count / self._rate, limit)
        self._waiting += data
        while len(self._waiting) >= self._least_bytes:
            for heard in await self._next():
                yield heard

    async def finish(self) -> tuple[list[Heard], Whole]:
        """What was still new, and all of it."""
        heard = await self._next() if self._waiting else []
        return heard, await self._rooms.run(self._place, room.finish, self._name)

    async def _next(self) -> list[Heard]:
        piece = bytes(self._waiting[: self._piece_bytes])
        del self._waiting[: self._piece_bytes]
        return await self._rooms.run(self._place, room.push, self._name, piece, self._channels)

    def _bytes(self, seconds: float) -> int:
        return max(1, round(seconds * self._rate)) * self._frame_bytes
