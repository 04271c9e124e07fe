"""An event loop in a thread of its own: what the sync face runs the async one on."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """One daemon thread with one event loop, started at once, ended by `close` or at exit.

    It is its own thread, so a program that has a running loop already (Jupyter) may use it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(self._loop,), name="chorale", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _end, self._loop, thread)

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return not self._end.alive

    def run(self, make: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Runs one coroutine to its end. Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(_awaited(make, args, kwargs), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(
        self, make: Callable[..., AsyncGenerator[T]], *args: Any, **kwargs: Any
    ) -> Generator[T]:
        """Runs an async generator step by step. Leaving the loop closes it."""
        generator = self.run(_made, make, *args, **kwargs)
        nothing = object()
        try:
            while (item := self.run(anext, generator, nothing)) is not nothing:
                yield item
        finally:
            if not self.closed:
                self.run(generator.aclose)

    def close(self) -> None:
        """Ends the loop and its thread. Safe to repeat."""
        self._end()


async def _awaited(make: Callable[..., Awaitable[T]], args: Any, kwargs: Any) -> T:
    return await make(*args, **kwargs)


async def _made(make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return make(*args, **kwargs)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if loop.is_closed():
        return
    loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(timeout=5)
