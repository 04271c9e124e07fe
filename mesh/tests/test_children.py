"""Children die with their parents, and leave records that tell who they were."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from chorale_mesh.children import (
    Child,
    Program,
    end_leftover,
    last_lines,
    record_path,
    running_pid,
)


def shell(script: str, place: Path, name: str = "child") -> Program:
    """A program of one shell script."""
    return Program(name, ["/bin/sh", "-c", script], {"PATH": os.defpath}, place)


def test_its_output_goes_to_a_private_log(tmp_path: Path) -> None:
    """What it says on both streams is kept, for its owner only."""
    child = Child(shell("echo out; echo err >&2; exit 7", tmp_path), tmp_path)
    assert child.stop(grace_seconds=5) in (7, -signal.SIGTERM)
    child = Child(shell("echo out; echo err >&2; exit 7", tmp_path), tmp_path)
    while child.exit_status() is None:
        time.sleep(0.01)
    assert child.exit_status() == 7
    assert last_lines(child.log, 2) == "out\nerr"
    assert child.log.stat().st_mode & 0o077 == 0


def test_a_record_names_it_while_it_lives(tmp_path: Path, eventually: Callable[..., None]) -> None:
    """The record leads to the process, and to nothing once that has ended."""
    child = Child(shell("sleep 600", tmp_path), tmp_path)
    record = record_path(tmp_path, "child")
    eventually(lambda: running_pid(record) == child.pid)
    child.kill()
    assert running_pid(record) is None
    assert not record.exists()


def test_killing_ends_grandchildren_too(tmp_path: Path, eventually: Callable[..., None]) -> None:
    """What it started goes with it, also what left its process group."""
    script = "setsid sleep 600 & echo $! > grandchild; sleep 600 & echo $! >> grandchild; wait"
    child = Child(shell(script, tmp_path), tmp_path)
    noted = tmp_path / "grandchild"
    eventually(lambda: noted.exists() and len(noted.read_text().split()) == 2)
    pids = [int(pid) for pid in noted.read_text().split()]
    child.kill()
    eventually(lambda: not any(_runs(pid) for pid in pids))


def test_a_deaf_child_is_killed_after_the_grace(tmp_path: Path) -> None:
    """One that ignores the request to end is ended."""
    child = Child(shell("trap '' TERM; echo ready; while :; do sleep 1; done", tmp_path), tmp_path)
    while "ready" not in last_lines(child.log):
        time.sleep(0.02)
    assert child.stop(grace_seconds=0.3) == -signal.SIGKILL


def test_the_end_of_the_thread_that_started_it_does_not_end_it(tmp_path: Path) -> None:
    """The kernel's parent is a thread; a passing one must not take the child along."""
    born: list[Child] = []
    thread = threading.Thread(
        target=lambda: born.append(Child(shell("sleep 600", tmp_path), tmp_path))
    )
    thread.start()
    thread.join()
    time.sleep(0.5)
    assert born[0].exit_status() is None
    born[0].kill()


def test_it_dies_with_its_parent(tmp_path: Path, eventually: Callable[..., None]) -> None:
    """kill -9 of the parent ends the child, though nobody was left to tell it."""
    program = textwrap.dedent(
        f"""
        import pathlib, time
        from chorale_mesh.children import Child, Program
        place = pathlib.Path({str(tmp_path)!r})
        Child(Program("child", ["/bin/sh", "-c", "sleep 600"], {{}}, place), place)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    record = record_path(tmp_path, "child")
    eventually(lambda: running_pid(record) is not None)
    parent.kill()
    parent.wait()
    if sys.platform != "linux":
        assert end_leftover(record, signal.SIGTERM, 1) is not None
    eventually(lambda: running_pid(record) is None)


def test_a_leftover_is_ended_and_named(tmp_path: Path, eventually: Callable[..., None]) -> None:
    """The next start finds what the last one left, ends it and says whom."""
    child = Child(shell("trap '' TERM; while :; do sleep 1; done", tmp_path), tmp_path)
    record = record_path(tmp_path, "child")
    eventually(lambda: running_pid(record) == child.pid)
    assert end_leftover(record, signal.SIGTERM, grace_seconds=0.2) == child.pid
    eventually(lambda: child.exit_status() == -signal.SIGKILL)
    assert end_leftover(record, signal.SIGTERM, grace_seconds=0.2) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_damaged_record_is_no_process(tmp_path: Path, text: str) -> None:
    """What cannot be read names nobody, so nobody is harmed."""
    (tmp_path / "child.pid").write_text(text)
    assert running_pid(tmp_path / "child.pid") is None


def test_a_program_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    """A missing binary ends the launcher with the reason in the log."""
    child = Child(Program("child", ["/does/not/exist"], {}, tmp_path), tmp_path)
    while child.exit_status() is None:
        time.sleep(0.01)
    assert child.exit_status() == 1
    assert "/does/not/exist cannot be run: No such file or directory" in last_lines(child.log)


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
