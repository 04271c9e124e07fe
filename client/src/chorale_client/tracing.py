"""Passes the W3C trace context on, or begins a trace, so that every failure can be looked up."""

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WELL_FORMED = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_current: ContextVar[str] = ContextVar("chorale_traceparent", default="")


def traceparent() -> str:
    """The `traceparent` of the next call.

    In this order: the active OpenTelemetry span, the trace of the piece of work in hand, the
    environment's TRACEPARENT, a trace of its own.
    """
    return _of_opentelemetry() or _current.get() or _of_environment() or _fresh()


def trace_id(parent: str) -> str:
    """The trace that a `traceparent` belongs to."""
    return parent.split("-")[1] if _WELL_FORMED.match(parent) else ""


@contextmanager
def one_trace() -> Iterator[None]:
    """Makes every call inside part of the same trace: an upload is one story, not five."""
    token = _current.set(traceparent())
    try:
        yield
    finally:
        _current.reset(token)


def _of_opentelemetry() -> str:
    if "opentelemetry.trace" not in sys.modules:  # nobody traces: do not pay for the import
        return ""
    from opentelemetry import trace

    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def _of_environment() -> str:
    given = os.environ.get("TRACEPARENT", "").strip().lower()
    return given if _WELL_FORMED.match(given) else ""


def _fresh() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
