"""Servers under measurement, each in a process of its own, and the CPU they have used."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Child:
    """A running server."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """CPU used so far by the process, its threads and its children."""
        me = psutil.Process(self.pid)
        return sum(_cpu_seconds(process) for process in (me, *me.children(recursive=True)))

    def peak_mebibytes(self) -> float:
        """The most memory it ever had resident."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


@contextmanager
def serving(
    module: str, *arguments: str, environ: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Runs `python -m module` until the block ends; it announces its address on stdout."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        env={**_clean(os.environ), **(environ or {})},
        text=True,
    )
    try:
        yield Child(_announced(process), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def announce(address: str) -> None:
    """Says to the parent where this server listens."""
    print(json.dumps({"address": address}), flush=True)


def in_turns(rounds: int, names: Sequence[str]) -> Iterator[str]:
    """Yields the names in turns, the order changing, so that none always goes first."""
    for number in range(rounds):
        yield from names if number % 2 == 0 else reversed(names)


def _announced(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    started = time.monotonic()
    while time.monotonic() - started < _START_SECONDS:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with {process.wait()} before it served")
        if line.startswith('{"address"'):
            return str(json.loads(line)["address"])
    raise TimeoutError("the server did not start")


def _cpu_seconds(process: psutil.Process) -> float:
    # Nanoseconds by the scheduler where Linux tells them; ticks of 10 ms elsewhere.
    total = 0.0
    try:
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except OSError:
        total = 0.0
    times = process.cpu_times()
    return total or times.user + times.system


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if not key.startswith("CHORALE_")}


def free_address() -> str:
    """A loopback address that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def cpu_seconds_of_ended(command: Sequence[str]) -> float:
    """Runs a command to its end and says how much CPU it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
