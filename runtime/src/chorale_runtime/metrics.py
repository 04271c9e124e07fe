"""Metrics for Prometheus: one registry per process, names `chorale_<service>_<noun>_<unit>`.

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
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

# Seconds: from a look-up in memory to a stream that lasts as long as it may.
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)

CONTENT_TYPE = CONTENT_TYPE_LATEST

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
    """All metrics, as Prometheus reads them."""
    return generate_latest(_registry)


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

    __slots__ = ("bytes_in", "bytes_out", "codes", "counts", "messages_in", "messages_out", "sum")

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.counts = [0] * (len(CALL_SECONDS) + 1)
        self.sum = 0.0
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0

    def ended(self, code: str, seconds: float) -> None:
        """Counts a call that has ended so."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.counts[bisect_left(CALL_SECONDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and how many calls took no longer, as Prometheus wants them."""
        bounds = [*map(str, map(float, CALL_SECONDS)), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self.counts)), strict=True))


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
