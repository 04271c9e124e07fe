"""The laws of the process pool, with real processes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import processes_work as work
import pytest
from chorale_runtime.processes import ProcessDied, Processes, QueueFull, RemoteError


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    """Two processes and no more waiting runs than four."""
    async with Processes.open(count=2, waiting_max=4) as opened:
        yield opened


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"


async def _until(condition: object, seconds: float = 5.0) -> float:
    started = time.perf_counter()
    while not condition():  # type: ignore[operator]
        assert time.perf_counter() - started < seconds, "waited too long"
        await asyncio.sleep(0.005)
    return time.perf_counter() - started


async def test_a_run_returns_what_the_function_returns(processes: Processes) -> None:
    """Functions run elsewhere and answer here; processes are kept for the next."""
    assert await processes.run(work.add, 2, 3) == 5
    pids = {await processes.run(work.pid) for _ in range(10)}
    assert len(pids) == 1
    assert os.getpid() not in pids


async def test_buffers_cross_whole(processes: Processes) -> None:
    """Large arguments and results arrive as they left."""
    assert await processes.run(work.total, bytearray(b"a" + bytes(50 << 20) + b"z")) == (
        (50 << 20) + 2,
        ord("a"),
        ord("z"),
    )
    filled = await processes.run(work.fill, 50 << 20)
    assert len(filled) == 50 << 20
    assert filled[-1] == 7


async def test_exceptions_travel_by_type_and_arguments(processes: Processes) -> None:
    """The caller catches the function's own exception, with its fields and where it came from."""
    with pytest.raises(work.Odd) as caught:
        await processes.run(work.refuse, 7)
    assert (caught.value.number, caught.value.wanted) == (7, 2)
    assert "processes_work.py" in str(caught.value.__cause__)
    with pytest.raises(RemoteError, match="Unfit"):
        await processes.run(work.fail_unfit)


async def test_what_cannot_travel_says_so(processes: Processes) -> None:
    """A function without a name is refused before any process is touched."""
    with pytest.raises(Exception, match="pickle"):
        await processes.run(lambda: 1)
    assert await processes.run(work.add, 1, 1) == 2


async def test_progress_is_told_in_order_and_to_the_end(processes: Processes) -> None:
    """Steps arrive in order, the last of each stage always, a flood of them never."""
    told: list[tuple[str, float]] = []
    to = 100_000
    started = time.perf_counter()
    assert await processes.run(work.count, to, on_progress=lambda *a: told.append(a)) == to
    took_seconds = time.perf_counter() - started
    assert told == sorted(told)
    assert told[0] == ("counting", 0.0)
    assert told[-1] == ("counting", (to - 1) / to)
    assert len(told) <= 3 + 100 * took_seconds


async def test_cancelling_kills_the_computation(processes: Processes, tmp_path: Path) -> None:
    """A computation that never pauses is gone within a second of its task's cancellation."""
    path = tmp_path / "pid"
    task = asyncio.create_task(processes.run(work.spin, 60.0, str(path)))
    await _until(lambda: path.exists() and path.read_text())
    pid = int(path.read_text())
    task.cancel()
    assert await _until(lambda: not _is_alive(pid)) < 1.0
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.gather(*(processes.run(work.add, n, 1) for n in range(4))) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("function", "ending"),
    [(work.crash, "SIGSEGV"), (work.killed, "SIGKILL"), (work.leave, "exit status 3")],
)
async def test_a_crash_fails_that_run_only(
    processes: Processes, function: object, ending: str
) -> None:
    """A process that dies fails its run, which says how, and neither the others nor the pool."""
    other = asyncio.create_task(processes.run(work.sleep, 0.3))
    await asyncio.sleep(0)
    with pytest.raises(ProcessDied, match=ending):
        await processes.run(function)  # type: ignore[arg-type]
    assert await other > 0
    assert await processes.run(work.add, 1, 2) == 3


async def test_a_process_that_died_idle_fails_nobody(processes: Processes) -> None:
    """The next run gets a new process instead of the failure of an idle one."""
    pid = await processes.run(work.pid)
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: not _is_alive(pid))
    assert await processes.run(work.pid) != pid


async def test_the_queue_is_bounded(processes: Processes) -> None:
    """Past the limit a run is refused at once, with the numbers and when to come back."""
    running = [asyncio.create_task(processes.run(work.sleep, 0.3)) for _ in range(6)]
    await asyncio.sleep(0.05)
    with pytest.raises(QueueFull) as caught:
        await processes.run(work.add, 1, 1)
    assert (caught.value.limit, caught.value.queue) == (4, "processes.cpu")
    assert caught.value.retry_after_seconds > 0
    assert len({await task for task in running}) == 2


async def test_waiting_runs_can_leave(processes: Processes) -> None:
    """A run cancelled while waiting takes no process and leaves its place to others."""
    running = [asyncio.create_task(processes.run(work.sleep, 0.2)) for _ in range(2)]
    waiting = [asyncio.create_task(processes.run(work.add, n, 0)) for n in range(4)]
    await asyncio.sleep(0.05)
    waiting[1].cancel()
    results = await asyncio.gather(*running, *waiting, return_exceptions=True)
    assert isinstance(results[3], asyncio.CancelledError)
    assert [results[2], *results[4:]] == [0, 2, 3]


async def test_threads_and_secrets_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process computes with the threads it was given, knows no settings and sees no device."""
    monkeypatch.setenv("CHORALE_DATABASE_URL", "postgresql://secret")
    async with Processes.open(count=1, threads=3, devices=("cuda:1",)) as processes:
        on_cpu = await processes.run(work.environment)
        on_device = await processes.run(work.environment, device="cuda:1")
    assert on_cpu["OMP_NUM_THREADS"] == on_cpu["OPENBLAS_NUM_THREADS"] == "3"
    assert on_cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert on_device["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CHORALE_DATABASE_URL" not in on_cpu


async def test_a_device_has_one_slot() -> None:
    """Runs on one device never overlap, while the CPU works on."""
    async with Processes.open(count=2, devices=("cuda:0",)) as processes:
        runs = [processes.run(work.sleep, 0.1, device="cuda:0") for _ in range(3)]
        started = time.perf_counter()
        pids = await asyncio.gather(*runs)
        assert time.perf_counter() - started >= 0.3
        assert len(set(pids)) == 1


async def test_what_cannot_be_preloaded_is_told() -> None:
    """A module that is missing is the answer to every run, not a process that dies again."""
    async with Processes.open(preload=("no_such_module",)) as processes:
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError, match="no_such_module"):
                await processes.run(work.add, 1, 1)


async def test_preloaded_modules_are_there(processes: Processes) -> None:
    """A preloaded module costs the first run nothing: it is imported before."""
    async with Processes.open(preload=("processes_work", "json")) as preloaded:
        assert await preloaded.run(work.add, 1, 1) == 2


async def test_closing_leaves_no_process() -> None:
    """When the pool closes, nothing of it runs on, busy or not."""
    async with Processes.open(count=2) as processes:
        pids = [await processes.run(work.pid)]
        task = asyncio.create_task(processes.run(work.spin, 60.0))
        left = asyncio.create_task(processes.run(work.spin, 60.0))
        await asyncio.sleep(0.1)
        pids += [p._child.pid for p in processes._lanes["cpu"].processes if p._child]
        task.cancel()
    assert not any(_is_alive(pid) for pid in pids)
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessDied):
        await left
    assert all(p._child is None for p in processes._lanes["cpu"].processes)


PARENT = """
import asyncio, os, sys
import processes_work as work
from chorale_runtime.processes import Processes
async def main():
    async with Processes.open(count=1) as processes:
        await processes.run(work.spin, 60.0, sys.argv[1])
asyncio.run(main())
"""


async def test_children_die_with_their_parent(tmp_path: Path) -> None:
    """kill -9 of the parent ends a child that is in the middle of a computation."""
    path = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(path), env=environment
    )
    await _until(lambda: path.exists() and path.read_text(), 10)
    child = int(path.read_text())
    assert _is_alive(child)
    parent.kill()
    await parent.wait()
    assert await _until(lambda: not _is_alive(child)) < 1.0


async def test_every_process_is_warmed_once_before_it_works() -> None:
    """And what warming breaks is not broken for the work."""
    async with Processes.open(count=2, warm=work.warm) as opened:
        async with asyncio.timeout(10):
            while not all(await asyncio.gather(*(opened.run(work.is_warm) for _ in range(2)))):
                pass
    async with Processes.open(count=1, warm=work.crash) as opened:
        await asyncio.sleep(1.2)
        assert await opened.run(work.add, 1, 1) == 2
