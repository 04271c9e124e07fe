"""Metrics for Prometheus: one registry per process, names `chorale_<service>_<noun>_<unit>`.

A metric may be asked for more than once (several services in one process, a server started
again by a test): the same name is the same metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

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


class CallMetrics:
    """What a server counts about its calls, with the labelled children kept at hand."""

    def __init__(self, service: str) -> None:
        name = f"chorale_{service}"
        self._calls = counter(f"{name}_calls_total", "Calls ended.", ("method", "code"))
        self._seconds = histogram(
            f"{name}_call_duration_seconds", "How long calls took.", ("method",)
        )
        self._messages = counter(
            f"{name}_stream_messages_total", "Messages of streams.", ("method", "direction")
        )
        self._bytes = counter(
            f"{name}_message_bytes_total", "Bytes of messages.", ("method", "direction")
        )
        self.in_flight = gauge(f"{name}_calls_in_flight", "Calls being answered.")
        self._ended: dict[tuple[str, str], Counter] = {}
        self._methods: dict[str, MethodMetrics] = {}

    def ended(self, method: str, code: str) -> Counter:
        """Counts one way in which calls of a method end."""
        child = self._ended.get((method, code))
        if child is None:
            child = self._ended[method, code] = self._calls.labels(method, code)
        return child

    def of(self, method: str) -> MethodMetrics:
        """The rest of what is counted about one method."""
        found = self._methods.get(method)
        if found is None:
            found = self._methods[method] = MethodMetrics(
                self._seconds.labels(method),
                self._messages.labels(method, "in"),
                self._messages.labels(method, "out"),
                self._bytes.labels(method, "in"),
                self._bytes.labels(method, "out"),
            )
        return found


class MethodMetrics:
    """The labelled children of one method."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out", "seconds")

    def __init__(
        self,
        seconds: Histogram,
        messages_in: Counter,
        messages_out: Counter,
        bytes_in: Counter,
        bytes_out: Counter,
    ) -> None:
        self.seconds = seconds
        self.messages_in, self.messages_out = messages_in, messages_out
        self.bytes_in, self.bytes_out = bytes_in, bytes_out
