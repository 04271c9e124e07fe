"""Traces: which call caused which, across services, queues and days.

The context travels as W3C `traceparent`: in the metadata of calls, and in the row of a queued
job (`traceparent()` when it is put there, `continued(...)` when a worker takes it up). Spans
are plain and cheap; they leave the process only where a collector is configured (`otlp`).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

Attribute = str | int | float | bool

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

# A generator of its own: a test or a library that seeds the global one must not make two
# processes invent the same trace.
_random = random.Random()  # noqa: S311 - ids, not secrets


class Kind(IntEnum):
    """What a span stands for, with OpenTelemetry's numbers."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Span:
    """One piece of work in a trace."""

    __slots__ = (
        "attributes",
        "end_ns",
        "error",
        "kind",
        "name",
        "parent_id",
        "sampled",
        "span_id",
        "start_ns",
        "trace_id",
        "tracer",
    )

    def __init__(
        self, tracer: Tracer, name: str, kind: Kind, trace_id: str, parent_id: str, sampled: bool
    ) -> None:
        self.tracer, self.name, self.kind = tracer, name, kind
        self.trace_id, self.parent_id, self.sampled = trace_id, parent_id, sampled
        self.span_id = f"{_random.getrandbits(64) or 1:016x}"
        self.start_ns, self.end_ns = time.time_ns(), 0
        self.attributes: dict[str, Attribute] = {}
        self.error: str | None = None

    @property
    def traceparent(self) -> str:
        """The context that makes whatever follows a child of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @property
    def told_trace_id(self) -> str:
        """The trace's id, where a collector is told of this span; else empty."""
        return self.trace_id if self.sampled and self.tracer.sink is not None else ""

    def end(self, error: str | None = None) -> None:
        """Closes the span; it is told to the collector if its trace is sampled."""
        self.end_ns, self.error = time.time_ns(), error
        if self.sampled and self.tracer.sink is not None:
            self.tracer.sink(self)


class Tracer:
    """Begins spans for one service. Without a sink nothing is kept."""

    def __init__(
        self,
        service: str = "",
        ratio: float = 1.0,
        sink: Callable[[Span], None] | None = None,
    ) -> None:
        self.service, self.sink = service, sink
        self._ratio = ratio

    def begin(self, name: str, kind: Kind, traceparent: str | None) -> Span:
        """Begins a span, as a child of a remote one where its context is readable."""
        found = _TRACEPARENT.match(traceparent) if traceparent else None
        if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
            sampled = self._ratio >= 1.0 or _random.random() < self._ratio
            return Span(self, name, kind, f"{_random.getrandbits(128) or 1:032x}", "", sampled)
        return Span(self, name, kind, found[1], found[2], bool(int(found[3], 16) & 1))


_tracer: ContextVar[Tracer] = ContextVar("chorale_tracer", default=Tracer())  # noqa: B039
_span: ContextVar[Span | None] = ContextVar("chorale_span", default=None)


def use(tracer: Tracer) -> None:
    """Makes this the tracer of the task and of every task it starts."""
    _tracer.set(tracer)


def enter(span: Span) -> None:
    """Makes this the current span for the rest of the task."""
    _span.set(span)


def current() -> Span | None:
    """The span of the running call, job or piece of work."""
    return _span.get()


def trace_id() -> str:
    """The id under which the log and the collector know the running work; empty outside any."""
    span = _span.get()
    return "" if span is None else span.trace_id


def traceparent() -> str:
    """The context to store beside queued work or to send along; empty outside any span."""
    span = _span.get()
    return "" if span is None else span.traceparent


@contextmanager
def span(name: str, kind: Kind = Kind.INTERNAL, **attributes: Attribute) -> Iterator[Span]:
    """Runs the body as a span, a child of the current one."""
    parent = _span.get()
    if parent is None:
        child = _tracer.get().begin(name, kind, None)
    else:
        child = Span(parent.tracer, name, kind, parent.trace_id, parent.span_id, parent.sampled)
    child.attributes.update(attributes)
    with _running(child):
        yield child


@contextmanager
def continued(context: str, name: str, **attributes: Attribute) -> Iterator[Span]:
    """Runs the body as a child of a stored context: how a worker takes a job up."""
    child = _tracer.get().begin(name, Kind.CONSUMER, context)
    child.attributes.update(attributes)
    with _running(child):
        yield child


@contextmanager
def _running(child: Span) -> Iterator[None]:
    token = _span.set(child)
    try:
        yield
    except BaseException as error:
        child.end(type(error).__name__)
        raise
    else:
        child.end()
    finally:
        _span.reset(token)
