"""How long to wait for what, and how to try again without being a nuisance."""

import asyncio
import random
import time
from dataclasses import dataclass

from chorale_client.errors import ChoraleError


@dataclass(frozen=True)
class Patience:
    """How many seconds each kind of wait may take where the caller names no deadline."""

    connect_seconds: float = 10.0
    """The first contact with a service. Later losses are waited for within the call's deadline."""

    call_seconds: float = 30.0
    """One call with one answer."""

    retry_seconds: float = 15.0
    """How long such a call is tried again while the service is unavailable."""

    transfer_seconds: float = 3600.0
    """One upload or download, all its attempts together."""

    operation_seconds: float = 86400.0
    """One wait for an operation."""


class Deadline:
    """A moment on the monotonic clock, shared by all attempts of one piece of work."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """What is left; 0 when it is over."""
        return max(0.0, self._end - time.monotonic())


class Backoff:
    """Waits longer after each failure in a row, never as long as its neighbour.

    Full jitter keeps a crowd of clients that lost the same server from coming back at once.
    """

    def __init__(self, first_seconds: float = 0.05, most_seconds: float = 5.0) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self.failures = 0

    def progressed(self) -> None:
        """Something got through: the next failure is a first one."""
        self.failures = 0

    async def wait(self, error: ChoraleError, deadline: Deadline) -> None:
        """Sleeps before the next attempt. Raises `error` when no time is left for one."""
        ceiling = min(self._most, self._first * 2**self.failures)
        self.failures += 1
        pause = random.uniform(ceiling / 4, ceiling)  # noqa: S311 - spreading load, not a secret
        pause = max(pause, error.retry_after_seconds or 0.0)
        if pause >= deadline.left_seconds:
            error.add_note(f"It was tried {self.failures} times within {deadline.seconds:g} s.")
            raise error
        await asyncio.sleep(pause)
