"""Tells finished spans to an OpenTelemetry collector: OpenTelemetry's own batches and exporter.

Imported only where a collector is configured: the SDK costs memory and start-up that a
service without one need not pay, and a span of ours costs a call a tenth of the SDK's. A
collector that is slow or away never slows a call: the queue is bounded and drops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chorale_runtime.traces import Kind, Span

_SPANS_MAX = 8192
_PAUSE_MS = 1000
_TIMEOUT_SECONDS = 5

_SCOPE = InstrumentationScope("chorale_runtime")
_KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
}


@contextlib.asynccontextmanager
async def exporting(service: str, endpoint: str) -> AsyncIterator[Callable[[Span], None]]:
    """Exports to `http://host:port`, `https://host:port` or `host:port`; yields the sink."""
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    exporter = OTLPSpanExporter(
        endpoint=parts.netloc, insecure=parts.scheme != "https", timeout=_TIMEOUT_SECONDS
    )
    processor = BatchSpanProcessor(
        exporter, max_queue_size=_SPANS_MAX, schedule_delay_millis=_PAUSE_MS
    )
    resource = Resource({"service.name": service, "service.namespace": "chorale"})
    try:
        yield lambda span: processor.on_end(_readable(span, resource))
    finally:
        await asyncio.to_thread(processor.shutdown)  # sends what is left, within its timeout


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    status = Status() if span.error is None else Status(StatusCode.ERROR, span.error)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id, is_remote=False),
        parent=_context(span.trace_id, span.parent_id, is_remote=True) if span.parent_id else None,
        resource=resource,
        attributes=span.attributes,
        kind=_KINDS[span.kind],
        status=status,
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: str, span_id: str, is_remote: bool) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote, TraceFlags(TraceFlags.SAMPLED)
    )
