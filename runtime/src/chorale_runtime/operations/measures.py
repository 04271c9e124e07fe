"""What Prometheus is told of a service's long work."""

from collections.abc import Sequence
from dataclasses import dataclass

from chorale_runtime import metrics

# Seconds: from a look into a cache to a model trained on a song.
WORK_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600)


@dataclass(frozen=True)
class Waiting:
    """What waits in one queue."""

    queue: str
    count: int
    oldest_seconds: float


class Measures:
    """The metrics of operations of one service, `chorale_<service>_operation...`."""

    def __init__(self, service: str, queues: Sequence[str]) -> None:
        prefix = f"chorale_{service}_operations"
        self._queues = queues
        self._attempts = metrics.counter(
            f"{prefix}_attempts_total", "Attempts, by how they ended.", ("method", "ending")
        )
        self._seconds = metrics.histogram(
            f"{prefix}_attempt_seconds", "How long attempts took.", ("method",), WORK_SECONDS
        )
        self._running = metrics.gauge(
            f"{prefix}_running_count", "Attempts running in this process.", ("queue",)
        )
        self._waiting = metrics.gauge(
            f"{prefix}_waiting_count", "Operations waiting, over all replicas.", ("queue",)
        )
        self._oldest = metrics.gauge(
            f"{prefix}_oldest_waiting_seconds", "How long the oldest has waited.", ("queue",)
        )
        self._taken_over = metrics.counter(
            f"{prefix}_taken_over_total", "Operations taken over from lost workers."
        )

    def began(self, queue: str) -> None:
        """An attempt began."""
        self._running.labels(queue).inc()

    def ended(
        self, queue: str, method: str, ending: str, seconds: float, trace_id: str = ""
    ) -> None:
        """An attempt ended; `trace_id` is where a collector can show it."""
        self._running.labels(queue).dec()
        self._attempts.labels(method, ending).inc()
        exemplar = {metrics.TRACE_LABEL: trace_id} if trace_id else None
        self._seconds.labels(method).observe(seconds, exemplar)

    def took_over(self, count: int) -> None:
        """So many operations were taken over."""
        self._taken_over.inc(count)

    def wait(self, waiting: Sequence[Waiting]) -> None:
        """This is what waits in the queues; a queue not named is empty."""
        found = {each.queue: each for each in waiting}
        for queue in self._queues:
            each = found.get(queue, Waiting(queue, 0, 0.0))
            self._waiting.labels(queue).set(each.count)
            self._oldest.labels(queue).set(each.oldest_seconds)
