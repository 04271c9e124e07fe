"""Who is asking: the principal and tier of the call, or of the job, that is running.

The interceptor sets it for the length of a call, the operation worker for the length of a
job, so that code deep inside a service can check an owner without being handed one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from chorale_runtime import deadline


class NoCaller(RuntimeError):
    """Code that needs a caller ran outside any call and any job."""

    def __str__(self) -> str:
        return "There is no caller here: this code runs outside a call and outside a job."


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who makes calls; what they make belongs to `principal`."""

    principal: str
    tier: str
    is_service: bool = False
    """Whether a service of the mesh makes the call, for itself or for `principal`."""

    def deadline_seconds_left(self) -> float | None:
        """How long the running call may still take; None where nothing bounds it."""
        return deadline.seconds_left()


LOCAL = Caller("local", "local", is_service=True)
"""Who everyone is on a loopback address without authentication."""

_current: ContextVar[Caller] = ContextVar("chorale_caller")


def current() -> Caller:
    """The caller of the running call or the owner of the running job."""
    caller = _current.get(None)
    if caller is None:
        raise NoCaller
    return caller


def current_or_none() -> Caller | None:
    """The same, where having no caller is no mistake."""
    return _current.get(None)


def become(caller: Caller) -> None:
    """Sets the caller for the rest of this task."""
    _current.set(caller)


@contextmanager
def acting(caller: Caller) -> Iterator[Caller]:
    """Runs the body as this caller: for workers, which run what others asked for."""
    token = _current.set(caller)
    try:
        yield caller
    finally:
        _current.reset(token)
