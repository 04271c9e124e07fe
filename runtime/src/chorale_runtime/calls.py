"""One call, from its first byte to its status: what happens around every servicer method.

`async with Call(...)` surrounds a call of any cardinality. In: trace, bound on calls, deadline,
identity, limits. Out: an exception becomes a status, and the call is counted and told in one
line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import grpc
from google.rpc import status_pb2

from chorale_runtime import caller, deadline, errors, traces
from chorale_runtime.caller import Caller
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.errors import ErrorTable
from chorale_runtime.logs import CALL_FIELD_NAMES, CallLog, redacted
from chorale_runtime.metrics import CallMetrics, MethodMetrics
from chorale_runtime.refusals import CallsFull, DeadlineExceeded
from chorale_runtime.traces import Kind, Tracer

Context = grpc.aio.ServicerContext[Any, Any]
Trailers = tuple[tuple[str, str | bytes], ...]

EOF = grpc.aio.EOF  # type: ignore[attr-defined]

# How long a call that failed still reads what its client is sending: until it pauses, at most
# this long.
_LINGER_SECONDS = 0.5
_QUIET_SECONDS = 0.1

_LEVELS = {
    "OK": logging.INFO,
    "UNKNOWN": logging.ERROR,
    "INTERNAL": logging.ERROR,
    "DATA_LOSS": logging.WARNING,
    "UNAVAILABLE": logging.WARNING,
}

_log = logging.getLogger(__name__)


class Identity(Protocol):
    """Says who makes a call, or raises one of the credentials refusals."""

    async def identify(self, metadata: Mapping[str, Any], context: Context) -> Caller:
        """Reads the credentials of a call."""


class Limits(Protocol):
    """Counts calls towards what their callers may make."""

    async def take(self, who: Caller) -> Trailers:
        """Counts one call, or raises `RateLimited`; returns what to tell the caller."""


@dataclass(frozen=True)
class Method:
    """What is known about an RPC before any call of it."""

    path: str
    """`/chorale.ingest.v1.IngestService/GetAudio`."""
    metrics: MethodMetrics
    default_deadline_seconds: float
    is_open: bool = False
    is_counted: bool = True
    reads_stream: bool = False


@dataclass(frozen=True)
class Policy:
    """What a server holds every call to."""

    service: str
    tracer: Tracer
    metrics: CallMetrics
    log: CallLog
    identity: Identity
    limits: Limits
    errors: ErrorTable
    max_calls: int
    max_deadline_seconds: float
    max_message_bytes: int
    live: set[Call] = field(default_factory=set)
    """Calls in flight."""
    standing: set[Call] = field(default_factory=set)
    """Those of open services, which count for nothing: every client watches health."""

    def interrupt_all(self, reason: Exception) -> None:
        """Ends every call in flight, telling its caller why."""
        for call in (*self.live, *self.standing):
            call.interrupt(reason)


class Call:
    """One call in flight."""

    __slots__ = (
        "_context",
        "_interruption",
        "_method",
        "_policy",
        "_span",
        "_started",
        "_task",
        "_timer",
        "_trailers",
        "bytes_in",
        "bytes_out",
        "caller",
        "has_read_all",
        "messages_in",
        "messages_out",
    )

    def __init__(self, policy: Policy, method: Method, context: Context) -> None:
        self._policy, self._method, self._context = policy, method, context
        self._interruption: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trailers: Trailers = ()
        self.caller: Caller | None = None
        self.has_read_all = False
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0

    async def __aenter__(self) -> Call:
        """Admits the call, or ends it with the status that says why not."""
        self._started = time.perf_counter()
        metadata = dict(self._context.invocation_metadata() or ())
        policy, method = self._policy, self._method
        self._span = policy.tracer.begin(method.path[1:], Kind.SERVER, metadata.get("traceparent"))
        traces.enter(self._span)
        task = asyncio.current_task()
        assert task is not None  # grpc runs every call as a task
        self._task = task
        try:
            if method.is_open:
                policy.standing.add(self)
                self._bound()
            else:
                policy.metrics.in_flight += 1
                if len(policy.live) >= policy.max_calls:
                    raise CallsFull(policy.max_calls)
                policy.live.add(self)
                self._bound()
                await self._admit(metadata)
        except BaseException as error:
            await self._end(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the call with its status."""
        await self._end(error)

    def interrupt(self, reason: Exception) -> None:
        """Ends the call from outside, with the status of this exception."""
        if self._interruption is None:
            self._interruption = reason
            self._task.cancel()

    async def _admit(self, metadata: Mapping[str, Any]) -> None:
        who = await self._policy.identity.identify(metadata, self._context)
        self.caller = who
        caller.become(who)
        if self._method.is_counted:
            self._trailers = await self._policy.limits.take(who)

    def _bound(self) -> None:
        longest = self._policy.max_deadline_seconds
        asked = self._context.time_remaining()
        if asked is not None and asked <= longest:
            # gRPC itself cancels the task when the client's deadline passes.
            deadline.begin(asked)
            return
        seconds = longest
        if asked is None:
            seconds = min(longest, self._method.default_deadline_seconds)
        deadline.begin(seconds)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self.interrupt, DeadlineExceeded(seconds))

    async def _end(self, error: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._method.is_open:
            self._policy.standing.discard(self)
        else:
            self._policy.live.discard(self)
            self._policy.metrics.in_flight -= 1
        if error is None:
            if self._trailers:
                told = tuple(self._context.trailing_metadata() or ())
                self._context.set_trailing_metadata(told + self._trailers)
            self._record("OK", None, None)
        else:
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            if self._interruption is not None:
                self._task.uncancel()
                error = self._interruption
            elif self._task.cancelling():
                self._record(self._why_cancelled(), None, None)
                return
        elif isinstance(error, grpc.aio.AbortError):
            code = self._context.code()
            self._record(getattr(code, "name", "UNKNOWN"), None, error)
            return
        elif isinstance(error, grpc.aio.InternalError):
            # Reading or writing failed: the connection is gone, and most likely nobody listens.
            self._record("CANCELLED", None, None)
            await self._context.abort(grpc.StatusCode.CANCELLED, "The connection was lost.")
        elif not isinstance(error, Exception):
            raise error
        await self._abort(error)

    async def _abort(self, error: BaseException) -> None:
        domain = f"{self._policy.service}.chorale"
        try:
            status = errors.to_status(error, self._policy.errors, domain)
        except Exception:  # an exception whose own text or fields raise
            _log.exception("error_not_told", extra={"type": type(error).__name__})
            status = errors.internal(domain)
        code = errors.code_of(status)
        self._record(code.name, status, error)
        if self._method.reads_stream and not self.has_read_all:
            await self._linger()
        await self._context.abort(code, status.message, self._trailers + errors.trailers(status))

    async def _linger(self) -> None:
        """Reads on for a moment before it ends a call whose client is still sending.

        A client that is in the middle of a message when the status comes may tell its user of
        the broken message instead of the status: grpc.aio does, as INTERNAL.
        """
        with contextlib.suppress(TimeoutError, grpc.aio.BaseError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while True:
                    async with asyncio.timeout(_QUIET_SECONDS):
                        if await self._context.read() is EOF:
                            return

    def _why_cancelled(self) -> str:
        return "DEADLINE_EXCEEDED" if self._context.time_remaining() == 0 else "CANCELLED"

    def _record(
        self, code: str, status: status_pb2.Status | None, error: BaseException | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        figures, span = self._method.metrics, self._span
        figures.ended(code, seconds)
        figures.messages_in += self.messages_in
        figures.messages_out += self.messages_out
        figures.bytes_in += self.bytes_in
        figures.bytes_out += self.bytes_out
        # Every client watches health: of open services only what is part of a trace is told.
        is_told = span.sampled and (span.parent_id or not self._method.is_open)
        if is_told and span.tracer.sink is not None:
            span.attributes["rpc.system"] = "grpc"
            span.attributes["rpc.grpc.status_code"] = code
            span.end(None if code == "OK" else code)
            figures.traced(seconds, span.trace_id, span.end_ns)
        level = logging.DEBUG if self._method.is_open else _LEVELS.get(code, logging.INFO)
        if self._policy.log.is_on(level):
            self._tell(level, code, seconds, status, error)

    def _tell(
        self,
        level: int,
        code: str,
        seconds: float,
        status: status_pb2.Status | None,
        error: BaseException | None,
    ) -> None:
        fields = (
            self._method.path,
            code,
            seconds * 1000,
            self.caller.principal if self.caller is not None else "",
            self.messages_in,
            self.messages_out,
            self.bytes_in,
            self.bytes_out,
        )
        log = self._policy.log
        if status is None and log.tell_briefly(level, fields):
            return
        line: dict[str, object] = dict(zip(CALL_FIELD_NAMES, fields, strict=True))
        if status is not None:
            line["error"] = redacted(status.message)
        if isinstance(error, DependencyUnavailable):
            line["detail"] = error.detail
        log.tell(level, line, error if code == "INTERNAL" else None)
