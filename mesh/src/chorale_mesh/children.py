"""Child processes that are found again: each dies with us, and leaves a record of who it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import psutil

from chorale_mesh import launcher

_LOG_LIMIT_BYTES = 16 << 20
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Account:
    """The operating system's user that a child runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """What to run, where, and how it is told to end."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None


class Child:
    """One running program of ours."""

    def __init__(self, program: Program, state: Path) -> None:
        self.program = program
        self.log = state / f"{program.name}.log"
        self._record = record_path(state, program.name)
        # The kernel watches the *thread* that forked, so children are born of one that stays.
        self._popen = _nursery().submit(self._spawn).result()

    @property
    def pid(self) -> int:
        """The process id; the program keeps its launcher's."""
        return self._popen.pid

    def exit_status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    def stop(self, grace_seconds: float) -> int:
        """Asks it to end, insists after the grace, and answers the exit status."""
        if self.exit_status() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self.program.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_seconds)
        return self.kill()

    def kill(self) -> int:
        """Ends it and what it started, at once; answers the exit status."""
        family = _descendants(self.pid)
        if self.exit_status() is None:
            os.kill(self.pid, signal.SIGKILL)
        status = self._popen.wait()
        _end_family(self.pid, family)
        self._record.unlink(missing_ok=True)
        return status

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = self.program
        self._record.parent.mkdir(parents=True, exist_ok=True)
        order = {
            "record": str(self._record),
            "directory": str(program.directory),
            "parent": os.getpid(),
            "farewell": int(program.stop_signal),
            "user": program.account and [program.account.uid, program.account.gid],
        }
        with _open_log(self.log) as log:
            return subprocess.Popen(  # noqa: S603 - arguments are ours
                [
                    *(sys.executable, "-I", "-S", launcher.__file__, json.dumps(order)),
                    *program.arguments,
                ],
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )


def record_path(state: Path, name: str) -> Path:
    """Where a child called `name` writes down its process id and start."""
    return state / f"{name}.pid"


def running_pid(record: Path) -> int | None:
    """The process of a record, if that very process still lives."""
    try:
        noted = json.loads(record.read_text())
        pid, started = int(noted["pid"]), str(noted["started"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    alive = psutil.pid_exists(pid) and launcher.start_mark(pid) == started
    return pid if alive and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else None


def end_leftover(record: Path, ask: signal.Signals, grace_seconds: float) -> int | None:
    """Ends what an earlier mesh that was killed left running; answers its pid, if any."""
    pid = running_pid(record)
    if pid is not None:
        family = _descendants(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, ask)
        deadline = time.monotonic() + grace_seconds
        while running_pid(record) is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if running_pid(record) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _end_family(pid, family)
    record.unlink(missing_ok=True)
    return pid


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for an error message."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


@cache
def _nursery() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="mesh-nursery")


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _end_family(pid: int, family: Sequence[psutil.Process]) -> None:
    """Ends a dead leader's process group and those that had left the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    deadline = time.monotonic() + 0.3
    while any(map(_is_running, family)):
        if time.monotonic() > deadline:
            for process in filter(_is_running, family):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(_POLL_SECONDS)


def _is_running(process: psutil.Process) -> bool:
    """Whether it still does anything; a corpse that nobody has fetched does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
