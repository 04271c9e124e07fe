"""Things that are made some at once, and taken one after another."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def in_order(
    count: int, together: int, make: Callable[[int], Awaitable[T]]
) -> AsyncGenerator[T]:
    """Yields what is made of 0, 1 and so on; at most so many are being made at once.

    Whoever closes it early has all that is still made stopped, and waits for that.
    """
    going: deque[asyncio.Future[T]] = deque()
    begun = 0
    try:
        while begun < count or going:
            while begun < count and len(going) < together:
                going.append(asyncio.ensure_future(make(begun)))
                begun += 1
            yield await going[0]
            going.popleft()
    finally:
        for each in going:
            each.cancel()
        await asyncio.gather(*going, return_exceptions=True)
