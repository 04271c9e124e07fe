"""An event loop in a thread of its own: what the sync face runs the async one on."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# A signal that comes just before a thread begins to wait does not end the waiting: Python hears
# of it when the thread wakes.
_AWAKE_SECONDS = 0.5


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
        job = _Job(partial(make, *args, **kwargs))
        try:
            self._loop.call_soon_threadsafe(job.start)
            return job.result()
        except BaseException:
            self._loop.call_soon_threadsafe(job.cancel)
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


class _Job(Generic[T]):
    """A coroutine of the loop's thread that another thread waits for.

    Ctrl-C may come at any instant, also when the coroutine has begun and the waiting has not. So
    the waiting is one lock: a `concurrent.futures.Future` breaks when it is interrupted inside.
    """

    _value: T

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._over = threading.Lock()
        self._over.acquire()

    def start(self) -> None:
        """Begins. In the loop's thread."""
        if not self._cancelled:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self) -> None:
        """Ends it, or keeps it from beginning. In the loop's thread."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def result(self) -> T:
        """What it returned or raised, once it has. In the caller's thread."""
        while not self._over.acquire(timeout=_AWAKE_SECONDS):
            pass
        if self._error is not None:
            raise self._error
        return self._value

    async def _run(self) -> None:
        try:
            self._value = await self._make()
        except BaseException as error:
            self._error = error
        finally:
            self._over.release()


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
