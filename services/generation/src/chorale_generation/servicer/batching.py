"""Requests that come while others are worked on go together, as far as they are of one kind."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
MadeT = TypeVar("MadeT")


@dataclass(eq=False)
class _Seat(Generic[ItemT, MadeT]):
    """One request that waits for what is made of it."""

    kind: Hashable
    item: ItemT
    made: "asyncio.Future[MadeT]"


class Batcher(Generic[ItemT, MadeT]):
    """Runs batches one after another.

    Nobody waits for company: what comes first goes at once and alone, and what comes meanwhile
    goes together when that is done, oldest first. A batch that fails is tried one by one, so that
    nobody fails for another's sake. What nobody waits for any more is stopped; where the batches
    themselves are stopped, so is everybody who waits.
    """

    def __init__(
        self,
        run: Callable[[Hashable, Sequence[ItemT]], Awaitable[Sequence[MadeT]]],
        most: int,
    ) -> None:
        self._run, self._most = run, most
        self._waiting: list[_Seat[ItemT, MadeT]] = []
        self._seats: list[_Seat[ItemT, MadeT]] = []
        self._going: asyncio.Task[None] | None = None
        self._batch: asyncio.Future[Sequence[MadeT]] | None = None

    async def submit(self, kind: Hashable, item: ItemT) -> MadeT:
        """What is made of an item, together with others of its kind."""
        seat = _Seat[ItemT, MadeT](kind, item, asyncio.get_running_loop().create_future())
        self._waiting.append(seat)
        if self._going is None:
            # What goes in the name of one caller must not carry it on to the next one's.
            context = contextvars.Context()
            self._going = asyncio.get_running_loop().create_task(self._go(), context=context)
        try:
            return await seat.made
        finally:
            self._leave(seat)

    def _leave(self, seat: _Seat[ItemT, MadeT]) -> None:
        if seat in self._waiting:
            self._waiting.remove(seat)
        if seat in self._seats and self._batch is not None:
            self._seats.remove(seat)
            if not self._seats:
                self._batch.cancel()

    async def _go(self) -> None:
        try:
            while self._waiting:
                kind = self._waiting[0].kind
                seats = [seat for seat in self._waiting if seat.kind == kind][: self._most]
                if not await self._together(kind, seats):
                    for seat in seats:
                        await self._together(kind, [seat])
        finally:
            self._going = None
            for seat in self._waiting:  # empty, unless the server goes
                seat.made.cancel()

    async def _together(self, kind: Hashable, seats: list[_Seat[ItemT, MadeT]]) -> bool:
        """Runs a batch; whether all were answered, be it with an error of their own."""
        seats = [seat for seat in seats if not seat.made.done()]
        if not seats:
            return True
        self._waiting = [seat for seat in self._waiting if seat not in seats]
        self._seats = list(seats)
        self._batch = asyncio.ensure_future(self._run(kind, [seat.item for seat in seats]))
        try:
            made = await self._batch
        except asyncio.CancelledError:
            if self._seats:  # not those who wait, but the server goes
                for seat in self._seats:
                    seat.made.cancel()
                raise
            return True
        except Exception as error:
            if len(seats) > 1:
                return False
            _fail(seats[0], error)
        else:
            for seat, each in zip(seats, made, strict=True):
                if not seat.made.done():
                    seat.made.set_result(each)
        finally:
            self._seats, self._batch = [], None
        return True


def _fail(seat: _Seat[ItemT, MadeT], error: Exception) -> None:
    if not seat.made.done():
        seat.made.set_exception(error)
