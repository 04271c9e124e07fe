"""Seeing a service work: traces, metrics and logs, set up together.

traces    spans and their context, `traceparent()` and `continued()` for queued work
metrics   counters, gauges and histograms for Prometheus
logs      JSON lines
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chorale_runtime import traces
from chorale_runtime.settings import ServerSettings
from chorale_runtime.traces import Kind, Span, Tracer, continued, span, trace_id, traceparent

__all__ = [
    "Kind",
    "Span",
    "Tracer",
    "continued",
    "setup",
    "span",
    "trace_id",
    "traceparent",
]


@asynccontextmanager
async def setup(service: str, settings: ServerSettings) -> AsyncIterator[Tracer]:
    """Makes the tracer of a service, with an exporter where a collector is configured."""
    if not settings.otlp_endpoint:
        tracer = Tracer(service, settings.trace_ratio)
        traces.use(tracer)
        yield tracer
        return
    from chorale_runtime import otlp

    async with otlp.exporting(service, settings.otlp_endpoint) as exporter:
        tracer = Tracer(service, settings.trace_ratio, exporter)
        traces.use(tracer)
        yield tracer
