"""An OpenTelemetry collector for tests: a real gRPC server that keeps the spans it is told."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


@dataclass(frozen=True)
class CollectedSpan:
    """One finished span, as its service told it."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str


@dataclass
class Collector(service.TraceServiceServicer):
    """Keeps every span; `address` is where it listens."""

    address: str = ""
    _spans: list[CollectedSpan] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def Export(
        self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> messages.ExportTraceServiceResponse:
        """Takes a batch."""
        with self._lock:
            self._spans.extend(_collected(request))
        return messages.ExportTraceServiceResponse()

    def trace(self, trace_id: str) -> list[CollectedSpan]:
        """What is known of one trace by now."""
        with self._lock:
            return [span for span in self._spans if span.trace_id == trace_id]

    def wait_for(
        self, trace_id: str, enough: Callable[[list[CollectedSpan]], bool], seconds: float = 15
    ) -> list[CollectedSpan]:
        """Waits until enough of a trace was told; answers what was."""
        deadline = time.monotonic() + seconds
        while not enough(self.trace(trace_id)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.trace(trace_id)


def _collected(request: messages.ExportTraceServiceRequest) -> Iterator[CollectedSpan]:
    for resource in request.resource_spans:
        told = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    told.get("service.name", ""),
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                )


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector on a free port."""
    server = grpc.server(ThreadPoolExecutor(2))
    collector = Collector()
    add = service.add_TraceServiceServicer_to_server
    add(collector, server)  # type: ignore[no-untyped-call]
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None)
