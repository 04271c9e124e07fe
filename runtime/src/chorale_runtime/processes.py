"""Computing off the event loop: a few long-lived processes that may be killed at any time.

    async with Processes.open(count=2, preload=("numpy",)) as processes:
        beats = await processes.run(track_beats, signal, on_progress=show)

`run` calls a function that can be imported by name, in a process started afresh (never
forked), and returns what it returns or raises what it raises. With `on_progress` the
function gets one more keyword argument, `progress`: what it calls that with is handed to
`on_progress` in the parent, the latest of each stage (the first argument) at least.
"""

import asyncio
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self, TypeVar

from chorale_runtime import processes_wire as wire

logger = logging.getLogger(__name__)

CPU = "cpu"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
REAP_SECONDS = 5.0
WARM_AFTER_SECONDS = 1.0  # serving comes first: it would wait for the same cores

T = TypeVar("T")


class QueueFull(Exception):
    """A queue holds as much work as it may; nothing was accepted."""

    def __init__(self, queue: str, limit: int, retry_after_seconds: float) -> None:
        super().__init__(queue, limit, retry_after_seconds)
        self.queue, self.limit, self.retry_after_seconds = queue, limit, retry_after_seconds

    def __str__(self) -> str:
        return f"The queue {self.queue!r} holds {self.limit} pieces of work, which is its limit."


class ProcessDied(Exception):
    """The process that did the work ended in the middle of it; another try may succeed."""

    def __init__(self, ending: str) -> None:
        super().__init__(ending)
        self.dependency = "worker process"
        self._ending = ending

    def __str__(self) -> str:
        return f"The process that did the work ended in the middle of it ({self._ending})."


class RemoteError(Exception):
    """An exception of the work that cannot be rebuilt here, by its name and text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self._kind, self._text = kind, text

    def __str__(self) -> str:
        return f"{self._kind}: {self._text}"


class RemoteTraceback(Exception):
    """Where in the other process an exception came from; the `__cause__` of what is raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Processes:
    """A pool of processes for the CPU, and one process for each device.

    Cancelling the task that awaits `run` kills the process at once and starts another
    in its place, so no computation outlives the wish for it.
    """

    def __init__(self, lanes: dict[str, "_Lane"]) -> None:
        self._lanes = lanes
        self.warmed = asyncio.Event()
        """Whether work may come: nothing is to be warmed, or it has been tried."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        count: int = 1,
        preload: Sequence[str] = (),
        threads: int = 1,
        waiting_max: int = 64,
        devices: Sequence[str] = (),
        warm: Callable[[], object] | None = None,
    ) -> AsyncIterator[Self]:
        """Start `count` processes, and one per device, each with `preload` imported.

        A process uses `threads` threads, so `count * threads` should be the CPU quota.
        `devices` are names like `cuda:0`; only that device's process can see it, so two
        runs never share one. At most `waiting_max` runs wait for each kind. `warm` is run once
        in every CPU process, a moment later, to import and compile what work will need.
        """
        lanes = {CPU: _Lane(CPU, count, preload, threads, waiting_max)}
        for device in devices:
            lanes[device] = _Lane(device, 1, preload, threads, waiting_max)
        processes = cls(lanes)
        warming = None
        try:
            for lane in lanes.values():
                lane.start()
            if warm is not None:
                warming = asyncio.create_task(processes._warm(warm))
            else:
                processes.warmed.set()
            yield processes
        finally:
            if warming is not None:
                warming.cancel()
            await asyncio.gather(*(lane.close() for lane in lanes.values()))

    @property
    def count(self) -> int:
        """How many CPU processes there are."""
        return len(self._lanes[CPU].processes)

    async def run(
        self,
        function: Callable[..., T],
        *args: Any,
        on_progress: Callable[..., object] | None = None,
        device: str = CPU,
    ) -> T:
        """Call `function(*args)` in a process of `device` and return what it returns.

        Raises what the function raises; `ProcessDied` if the process ends first (a crash,
        or the kernel out of memory); `QueueFull` if too many are waiting already.
        """
        request = wire.pack((function, args, on_progress is not None))
        lane = self._lanes[device]
        process = await lane.take()
        try:
            result: T = await process.run(request, on_progress)
            return result
        finally:
            lane.give_back(process)

    async def _warm(self, warm: Callable[[], object]) -> None:
        await asyncio.sleep(WARM_AFTER_SECONDS)
        # What goes wrong here goes wrong in the work too, which will say so.
        await asyncio.gather(*(self.run(warm) for _ in range(self.count)), return_exceptions=True)
        self.warmed.set()


def takes_progress(function: Callable[..., object]) -> bool:
    """Whether a function can be called with the keyword argument `progress`."""
    return "progress" in inspect.signature(function).parameters


class _Lane:
    """Processes of one kind, and those who wait for one, first come first served."""

    def __init__(
        self, device: str, count: int, preload: Sequence[str], threads: int, waiting_max: int
    ) -> None:
        environment = _environment(device, threads)
        self.device, self.waiting_max = device, waiting_max
        self.processes = [_Process(preload, environment) for _ in range(count)]
        # Last in, first out: the process used last has the warmest caches.
        self._idle = list(self.processes)
        self._waiting: list[asyncio.Future[_Process]] = []

    def start(self) -> None:
        for process in self.processes:
            process.start()

    async def take(self) -> "_Process":
        if self._idle:
            return self._idle.pop()
        if len(self._waiting) >= self.waiting_max:
            raise QueueFull(f"processes.{self.device}", self.waiting_max, 1.0)
        turn: asyncio.Future[_Process] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            # Given a process and cancelled in the same moment: it goes to the next.
            if turn.done() and not turn.cancelled():
                self.give_back(turn.result())
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def give_back(self, process: "_Process") -> None:
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(process)
                return
        self._idle.append(process)

    async def close(self) -> None:
        await asyncio.gather(*(process.close() for process in self.processes))


class _Process:
    """One worker process, replaced whenever it ends or is ended."""

    def __init__(self, preload: Sequence[str], environment: dict[str, str]) -> None:
        self._preload, self._environment = wire.pack(tuple(preload)), environment
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._reaping: set[asyncio.Task[int]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def start(self) -> None:
        # Started from the loop's thread: the kernel ends a child with the thread that made it.
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-P", "-m", "chorale_runtime.processes_child")
            self._child = subprocess.Popen(  # noqa: S603  # our own module
                [*command, str(theirs.fileno()), str(os.getpid())],
                env=self._environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        ours.setblocking(False)
        self._connection = ours
        # The names are few and the buffer is empty, so this never has to wait.
        for piece in self._preload:
            ours.send(piece)

    async def run(
        self, request: list[memoryview], on_progress: Callable[..., object] | None
    ) -> Any:
        self._idle.clear()
        try:
            return await self._run(request, on_progress)
        finally:
            self._idle.set()

    async def _run(
        self, request: list[memoryview], on_progress: Callable[..., object] | None
    ) -> Any:
        if self._child is None or self._child.poll() is not None:
            self._replace()  # it died while idle, which is nobody's failure
        try:
            kind, value = await self._exchange(request, on_progress)
        except (wire.ConnectionEnded, ConnectionError):
            ending = await self._ending()
            self._replace()
            logger.warning("process_died", extra={"ending": ending})
            raise ProcessDied(ending) from None
        except BaseException:
            self._replace()
            raise
        if kind == "result":
            return value
        error_type, arguments, text = value
        error = RemoteError(*arguments) if error_type is None else error_type(*arguments)
        raise error from RemoteTraceback(text)

    async def close(self) -> None:
        self._closed = True
        if self._child is not None:
            self._child.kill()
        # A run in the middle hears the socket end; closed under it, it would wait for ever.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), REAP_SECONDS)
        self._end()
        if self._reaping:
            await asyncio.wait(self._reaping, timeout=REAP_SECONDS)

    async def _exchange(
        self, request: list[memoryview], on_progress: Callable[..., object] | None
    ) -> tuple[str, Any]:
        connection = self._connection
        if connection is None:
            raise wire.ConnectionEnded
        loop = asyncio.get_running_loop()
        for piece in request:
            await loop.sock_sendall(connection, piece)
        while True:
            kind, value = await _receive(connection)
            if kind != "progress":
                return kind, value
            if on_progress is not None:
                on_progress(*value)

    def _replace(self) -> None:
        self._end()
        if not self._closed:
            self.start()

    def _end(self) -> None:
        child, self._child = self._child, None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if child is not None:
            child.kill()
            reaping = asyncio.ensure_future(asyncio.to_thread(child.wait))
            self._reaping.add(reaping)
            reaping.add_done_callback(self._reaping.discard)

    async def _ending(self) -> str:
        """Say how the process ended, once its end of the socket is closed."""
        if self._child is None:
            return "closed"
        child = self._child
        try:
            code = await asyncio.wait_for(asyncio.to_thread(child.wait, REAP_SECONDS), REAP_SECONDS)
        except (TimeoutError, subprocess.TimeoutExpired):
            return "hung up"
        if code >= 0:
            return f"exit status {code}"
        return f"signal {-code}, {signal.Signals(-code).name}"


def _environment(device: str, threads: int) -> dict[str, str]:
    """What a worker may know: no settings and no secrets of the service, and only its device."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHORALE_")}
    environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    kind, _, index = device.partition(":")
    environment["CUDA_VISIBLE_DEVICES"] = index if kind == "cuda" else ""
    # The parent's import path, so that what it can name the child can import.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


async def _receive(connection: socket.socket) -> Any:
    (count,) = wire.COUNT.unpack(await _receive_exactly(connection, wire.COUNT.size))
    sizes = wire.sizes_of(count, await _receive_exactly(connection, 8 * count))
    return wire.unpack([await _receive_exactly(connection, size) for size in sizes])


async def _receive_exactly(connection: socket.socket, size_bytes: int) -> bytearray:
    loop = asyncio.get_running_loop()
    buffer = bytearray(size_bytes)
    rest = memoryview(buffer)
    while len(rest) > 0:
        count = await loop.sock_recv_into(connection, rest)
        if count == 0:
            raise wire.ConnectionEnded
        rest = rest[count:]
    return buffer
