"""Tells finished spans to an OpenTelemetry collector, in batches, over gRPC.

Imported only where a collector is configured. A collector that is slow or away never slows a
call: the queue is bounded, what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from chorale_runtime import metrics
from chorale_runtime.traces import Attribute, Span

_SPANS_MAX = 8192
_BATCH_MAX = 512
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Exporter:
    """A bounded queue of spans and the task that sends them."""

    def __init__(self, service: str, stub: trace_service_pb2_grpc.TraceServiceStub) -> None:
        self._service, self._stub = service, stub
        self._spans: deque[Span] = deque()
        self._dropped = metrics.counter(
            f"chorale_{service}_spans_dropped_total", "Spans that no collector was told of."
        )
        self._away = False

    def __call__(self, span: Span) -> None:
        """Takes a finished span."""
        if len(self._spans) >= _SPANS_MAX:
            self._dropped.inc()
        else:
            self._spans.append(span)

    async def run(self) -> None:
        """Sends what has come, every second, until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Sends all there is; a batch that fails is dropped."""
        while self._spans:
            count = min(_BATCH_MAX, len(self._spans))
            batch = [self._spans.popleft() for _ in range(count)]
            try:
                await self._stub.Export(_request(self._service, batch), timeout=_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                self._dropped.inc(len(batch))
                self._say_away(error)
                return
            self._away = False

    def _say_away(self, error: grpc.aio.AioRpcError) -> None:
        if not self._away:
            _log.warning("traces_not_exported", extra={"code": error.code().name})
        self._away = True


@contextlib.asynccontextmanager
async def exporting(service: str, endpoint: str) -> AsyncIterator[Exporter]:
    """Runs an exporter to `http://host:port`, `https://host:port` or `host:port`."""
    async with _channel(endpoint) as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)
        exporter = Exporter(service, stub)
        task = asyncio.create_task(exporter.run(), name="otlp")
        try:
            yield exporter
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await exporter.flush()


def _channel(endpoint: str) -> grpc.aio.Channel:
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    if parts.scheme == "https":
        return grpc.aio.secure_channel(parts.netloc, grpc.ssl_channel_credentials())
    return grpc.aio.insecure_channel(parts.netloc)


def _request(service: str, spans: Iterable[Span]) -> trace_service_pb2.ExportTraceServiceRequest:
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(_attribute("service.name", service))
    resource.resource.attributes.append(_attribute("service.namespace", "chorale"))
    scope = resource.scope_spans.add()
    scope.scope.name = "chorale_runtime"
    scope.spans.extend(_span(span) for span in spans)
    return request


def _span(span: Span) -> trace_pb2.Span:
    told = trace_pb2.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.ValueType(int(span.kind)),
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=[_attribute(key, value) for key, value in span.attributes.items()],
    )
    if span.error is not None:
        told.status.code = trace_pb2.Status.STATUS_CODE_ERROR
        told.status.message = span.error
    return told


def _attribute(key: str, value: Attribute) -> common_pb2.KeyValue:
    if isinstance(value, bool):
        told = common_pb2.AnyValue(bool_value=value)
    elif isinstance(value, int):
        told = common_pb2.AnyValue(int_value=value)
    elif isinstance(value, float):
        told = common_pb2.AnyValue(double_value=value)
    else:
        told = common_pb2.AnyValue(string_value=str(value))
    return common_pb2.KeyValue(key=key, value=told)
