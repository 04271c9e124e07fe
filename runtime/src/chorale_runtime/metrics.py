"""Metrics for Prometheus: one registry per process, names `chorale_<service>_<noun>_<unit>`.

Those who accept OpenMetrics are also told exemplars: for each bucket of a latency the trace of one
call that fell into it.

A metric may be asked for more than once (several services in one process, a server started
again by a test): the same name is the same metric.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

# Seconds: from a look-up in memory to a stream that lasts as long as it may.
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)

# By this word a trace is found in the collector; Grafana is told of it once, in its data source.
TRACE_LABEL = "trace_id"

_OPEN_METRICS = "application/openmetrics-text"

_registry = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=_registry)
PlatformCollector(registry=_registry)

M = TypeVar("M", Counter, Gauge, Histogram)


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # noqa: A002
    """The counter of this name; `_total` is its last word."""
    return _named(
        name.removesuffix("_total"), lambda: Counter(name, help, labels, registry=_registry)
    )


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Gauge:  # noqa: A002
    """The gauge of this name."""
    return _named(name, lambda: Gauge(name, help, labels, registry=_registry))


def histogram(
    name: str,
    help: str,  # noqa: A002
    labels: Sequence[str] = (),
    buckets: Sequence[float] = CALL_SECONDS,
) -> Histogram:
    """The histogram of this name."""
    return _named(name, lambda: Histogram(name, help, labels, buckets=buckets, registry=_registry))


def exposition() -> bytes:
    """All metrics, as anything reads them."""
    return generate_latest(_registry)


def accepted(accept: str) -> tuple[str, bytes]:
    """All metrics and their content type, as who accepts these types reads them best."""
    if any(each.partition(";")[0].strip() == _OPEN_METRICS for each in accept.split(",")):
        told: bytes = openmetrics.generate_latest(_registry)  # type: ignore[no-untyped-call]
        return openmetrics.CONTENT_TYPE_LATEST, told
    return CONTENT_TYPE_LATEST, exposition()


_known: dict[str, Counter | Gauge | Histogram] = {}


def _named(name: str, make: Callable[[], M]) -> M:
    if name not in _known:
        _known[name] = make()
    return _known[name]  # type: ignore[return-value]


class MethodMetrics:
    """What is counted about the calls of one method.

    Plain numbers, changed by the loop's own thread: calls are counted by the thousand each
    second, and read by Prometheus every few seconds.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "codes",
        "counts",
        "messages_in",
        "messages_out",
        "sum",
        "traces",
    )

    def __init__(self) -> None:
        self.traces: dict[int, tuple[str, float, int]] = {}
        self.codes: dict[str, int] = {}
        self.counts = [0] * (len(CALL_SECONDS) + 1)
        self.sum = 0.0
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0

    def ended(self, code: str, seconds: float) -> None:
        """Counts a call that has ended so."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.counts[bisect_left(CALL_SECONDS, seconds)] += 1
        self.sum += seconds

    def traced(self, seconds: float, trace_id: str, at_ns: int) -> None:
        """Keeps the trace of a call as the example of its bucket: the latest of each."""
        self.traces[bisect_left(CALL_SECONDS, seconds)] = trace_id, seconds, at_ns

    def buckets(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """Upper bounds, how many calls took no longer, and the trace of one of them."""
        bounds = [*map(str, map(float, CALL_SECONDS)), "+Inf"]
        counts = accumulate(map(float, self.counts))
        return [
            (bound, count, *self._exemplar(bucket))
            for bucket, (bound, count) in enumerate(zip(bounds, counts, strict=True))
        ]

    def _exemplar(self, bucket: int) -> tuple[Exemplar] | tuple[()]:
        if bucket not in self.traces:
            return ()
        trace_id, seconds, at_ns = self.traces[bucket]
        return (Exemplar({TRACE_LABEL: trace_id}, seconds, at_ns / 1e9),)


class CallMetrics(Collector):
    """What a service counts about its calls, for Prometheus to read."""

    def __init__(self, service: str) -> None:
        self._name = f"chorale_{service}"
        self._methods: dict[str, MethodMetrics] = {}
        self.in_flight = 0

    def of(self, method: str) -> MethodMetrics:
        """The figures of one method."""
        return self._methods.setdefault(method, MethodMetrics())

    def collect(self) -> Iterator[Metric]:
        """Tells all figures."""
        name = self._name
        by_direction = ("method", "direction")
        calls = CounterMetricFamily(f"{name}_calls", "Calls ended.", labels=("method", "code"))
        seconds = HistogramMetricFamily(
            f"{name}_call_duration_seconds", "How long calls took.", labels=("method",)
        )
        messages = CounterMetricFamily(
            f"{name}_messages", "Messages of calls, streamed ones too.", labels=by_direction
        )
        sizes = CounterMetricFamily(
            f"{name}_message_bytes", "Bytes of those messages.", labels=by_direction
        )
        for method, figures in self._methods.items():
            for code, count in figures.codes.items():
                calls.add_metric((method, code), count)
            if figures.codes:
                seconds.add_metric((method,), figures.buckets(), figures.sum)
                messages.add_metric((method, "in"), figures.messages_in)
                messages.add_metric((method, "out"), figures.messages_out)
                sizes.add_metric((method, "in"), figures.bytes_in)
                sizes.add_metric((method, "out"), figures.bytes_out)
        flight = GaugeMetricFamily(f"{name}_calls_in_flight", "Calls being answered.")
        flight.add_metric((), self.in_flight)
        yield from (calls, seconds, messages, sizes, flight)


_services: dict[str, CallMetrics] = {}


def calls(service: str) -> CallMetrics:
    """The figures of a service's calls."""
    if service not in _services:
        _services[service] = CallMetrics(service)
        _registry.register(_services[service])
    return _services[service]
