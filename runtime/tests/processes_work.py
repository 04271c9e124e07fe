"""Functions for the process pool to run: it calls them by name, so they need a module."""

import ctypes
import os
import signal
import time
from collections.abc import Callable


class Odd(Exception):
    """An exception with fields, rebuilt from its arguments."""

    def __init__(self, number: int, wanted: int) -> None:
        super().__init__(number, wanted)
        self.number, self.wanted = number, wanted


class Unfit(Exception):
    """An exception that its arguments do not rebuild."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}", "and more", "than it takes")


def add(left: int, right: int) -> int:
    """Add."""
    return left + right


def total(data: bytearray) -> tuple[int, int, int]:
    """Look at a buffer."""
    return len(data), data[0], data[-1]


def fill(size_bytes: int) -> bytearray:
    """Make a buffer."""
    return bytearray(b"\x07") * size_bytes


def refuse(number: int) -> None:
    """Raise an exception with fields."""
    raise Odd(number, 2)


def fail_unfit() -> None:
    """Raise what cannot be rebuilt."""
    raise Unfit(3)


def count(to: int, progress: Callable[..., None]) -> int:
    """Tell every step."""
    for number in range(to):
        progress("counting", number / to)
    return to


def sleep(seconds: float) -> int:
    """Wait, holding the process; return its pid."""
    time.sleep(seconds)
    return os.getpid()


def spin(seconds: float, path: str = "") -> int:
    """Compute without ever waiting; write the pid to `path` first."""
    if path:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
    return number


def crash() -> None:
    """Die as a bad C extension does."""
    ctypes.string_at(0)


def killed() -> None:
    """Die as the kernel out of memory makes processes die."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    """End the process without a word."""
    os._exit(3)


def environment() -> dict[str, str]:
    """Tell the environment."""
    return dict(os.environ)


def pid() -> int:
    """Tell the process."""
    return os.getpid()


def warm() -> None:
    """Remember that this process is warm."""
    os.environ["IS_WARM"] = "yes"
    time.sleep(0.2)  # long enough that the other processes must take the other runs


def is_warm() -> bool:
    """Say whether this process is."""
    time.sleep(0.2)
    return os.environ.get("IS_WARM") == "yes"
