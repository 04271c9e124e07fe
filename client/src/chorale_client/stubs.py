"""The generated stubs without `await`: each call runs on the background loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import Any

from chorale_client.background import Background
from chorale_client.calls import StreamStream, StreamUnary, UnaryStream


class BlockingStub:
    """A stub whose calls return answers and iterators instead of awaitables."""

    def __init__(self, background: Background, stub: Any) -> None:
        self._background = background
        self._stub = stub

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return BlockingCall(self._background, getattr(self._stub, name))

    def __dir__(self) -> Iterable[str]:
        return list(vars(self._stub))


class BlockingCall:
    """One call of a stub."""

    def __init__(self, background: Background, awaitable: Any) -> None:
        self._background = background
        self.awaitable = awaitable

    def __call__(self, request: Any, **options: Any) -> Any:
        """The answer, or an iterator of answers. A stream of requests is any iterable."""
        rpc = self.awaitable
        if isinstance(rpc, StreamUnary | StreamStream) and not isinstance(request, AsyncIterable):
            request = _stepwise(request)
        if isinstance(rpc, UnaryStream | StreamStream):
            return self._background.iterate(rpc, request, **options)
        return self._background.run(rpc, request, **options)


async def _stepwise(requests: Iterable[Any]) -> AsyncGenerator[Any]:
    """An iterator that may block, as one that does not hold up the loop."""
    nothing = object()
    iterator = iter(requests)
    while (request := await asyncio.to_thread(next, iterator, nothing)) is not nothing:
        yield request
