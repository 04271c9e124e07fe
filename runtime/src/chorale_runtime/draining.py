"""Knowing early that the server ends: what would be taken up now is better left to others.

begun     told to end: no new long work is taken, what runs goes on
closed    callers have been sent elsewhere: streams that only wait for news end now
"""

from __future__ import annotations

import asyncio
import math
import time
from contextvars import ContextVar


class Draining:
    """How far a server's ending is."""

    def __init__(self) -> None:
        self.begun, self.closed = asyncio.Event(), asyncio.Event()
        self._ends_at = math.inf

    def begin(self, seconds: float) -> None:
        """The server ends, in so many seconds at the latest."""
        self._ends_at = time.monotonic() + seconds
        self.begun.set()

    def close(self) -> None:
        """New calls go elsewhere from now on."""
        self.closed.set()

    def seconds_left(self) -> float:
        """What is left of the time to end in; all the time there is while nobody asked."""
        return max(0.0, self._ends_at - time.monotonic())


_draining: ContextVar[Draining | None] = ContextVar("chorale_draining", default=None)


def use(draining: Draining) -> None:
    """Makes this the draining of the task and of every task it starts."""
    _draining.set(draining)


def current() -> Draining:
    """That of the server being built; outside any, one that never begins."""
    return _draining.get() or Draining()
