"""When the running call must have answered, as every piece of code inside it can ask.

A call without a deadline gets the service's default, and none may ask for longer than the
longest allowed. What remains travels on with the calls made while answering (`channels`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_expires: ContextVar[float | None] = ContextVar("chorale_deadline", default=None)


def seconds_left() -> float | None:
    """How long the running call may still take, never below 0; None where nothing bounds it."""
    expires = _expires.get()
    return None if expires is None else max(0.0, expires - time.monotonic())


def begin(seconds: float) -> None:
    """Bounds the rest of this task; it is for the caller of this to end the task in time."""
    _expires.set(time.monotonic() + seconds)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Bounds the calls that the body makes, by the sooner of this and what bounds it already."""
    already = seconds_left()
    token = _expires.set(time.monotonic() + (seconds if already is None else min(seconds, already)))
    try:
        yield
    finally:
        _expires.reset(token)
