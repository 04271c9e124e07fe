"""Requests that go together: when they do, and when they do not."""

import asyncio
from collections.abc import Hashable, Sequence
from contextlib import aclosing

import pytest
from chorale_generation.servicer.ahead import in_order
from chorale_generation.servicer.batching import Batcher

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Engine:
    """Doubles numbers; batches take as long as the gate is closed. 13 is bad luck, 99 the end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.stopped = 0

    async def run(self, _: Hashable, items: Sequence[int]) -> list[int]:
        """One batch."""
        self.batches.append(list(items))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if 99 in items:
            raise asyncio.CancelledError
        if 13 in items:
            raise ValueError(13)
        return [2 * item for item in items]


async def started(
    batcher: Batcher[int, int], kind: str, items: Sequence[int]
) -> list[asyncio.Task[int]]:
    """Submits items one after another."""
    tasks = [asyncio.ensure_future(batcher.submit(kind, item)) for item in items]
    for _ in range(4):
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_meanwhile_goes_together() -> None:
    """The first goes at once; of the rest as many go at once as may, of one kind, oldest first."""
    engine = Engine()
    batcher = Batcher(engine.run, 3)
    tasks = await started(batcher, "a", [1])
    tasks += await started(batcher, "a", [2, 3])
    tasks += await started(batcher, "b", [10])
    tasks += await started(batcher, "a", [4, 5])
    engine.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 20, 8, 10]
    assert engine.batches == [[1], [2, 3, 4], [10], [5]]
    assert await batcher.submit("a", 6) == 12


async def test_nobody_fails_for_the_sake_of_another() -> None:
    """A batch that fails is tried one by one: only the one at fault is told."""
    engine = Engine()
    batcher = Batcher(engine.run, 8)
    tasks = await started(batcher, "a", [1])
    tasks += await started(batcher, "a", [2, 13, 4])
    engine.gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[0], found[1], found[3]] == [2, 4, 8]
    assert isinstance(found[2], ValueError)
    assert engine.batches == [[1], [2, 13, 4], [2], [13], [4]]


async def test_a_batch_is_stopped_when_nobody_waits_for_it() -> None:
    """One who leaves is not waited for; when the last has left the work ends, and others go on."""
    engine = Engine()
    batcher = Batcher(engine.run, 8)
    first, second = await started(batcher, "a", [1]), await started(batcher, "a", [2, 3])
    third = await started(batcher, "b", [4])
    first[0].cancel()
    for _ in range(6):
        await asyncio.sleep(0)
    assert (engine.stopped, engine.batches) == (1, [[1], [2, 3]])
    second[0].cancel()
    await asyncio.sleep(0)
    assert engine.stopped == 1
    engine.gate.set()
    assert await second[1] == 6
    assert await third[0] == 8


async def test_where_batches_are_stopped_nobody_waits_on() -> None:
    """A batch that is stopped from without takes with it those in it and those who wait."""
    engine = Engine()
    batcher = Batcher(engine.run, 8)
    tasks = await started(batcher, "a", [99])
    tasks += await started(batcher, "b", [1])
    engine.gate.set()
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert [type(each) for each in found] == [asyncio.CancelledError] * 2
    engine.gate.set()
    assert await batcher.submit("a", 2) == 4


@pytest.mark.parametrize("together", [1, 3, 9])
async def test_what_is_made_ahead_comes_in_order(together: int) -> None:
    """However late each is, they come one after another; no more than allowed are made at once."""
    going: set[int] = set()
    most = 0

    async def make(number: int) -> int:
        nonlocal most
        going.add(number)
        most = max(most, len(going))
        for _ in range(1 + 3 * (number % 2)):
            await asyncio.sleep(0)
        going.remove(number)
        return number

    assert [each async for each in in_order(5, together, make)] == [0, 1, 2, 3, 4]
    assert most == min(together, 5)


async def test_what_is_made_ahead_is_stopped_with_the_taker() -> None:
    """One who leaves, or for whom one fails, leaves nothing behind that still runs."""
    ended: list[int] = []

    async def make(number: int) -> int:
        try:
            if number == 1:
                await asyncio.sleep(0)
                raise ValueError(number)
            if number > 1:
                await asyncio.Event().wait()
        finally:
            ended.append(number)
        return number

    async with aclosing(in_order(4, 3, make)) as numbers:
        assert await anext(numbers) == 0
    assert sorted(ended) == [0, 1, 2]
    ended.clear()
    with pytest.raises(ValueError, match="1"):
        assert [each async for each in in_order(4, 3, make)]
    assert sorted(ended) == [0, 1, 2, 3]
