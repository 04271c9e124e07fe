"""How a provider is, by how asking it went; and whether it may be asked at all.

(M. Nygard, "Release It!", circuit breaker.) Known to this process alone: each replica finds out
by itself, and stops asking by itself.
"""

import asyncio
import enum
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FAILURES_MAX, OPEN_SECONDS = 3, 300.0
_HOUR_SECONDS, _REMEMBERED = 3600.0, 10_000
_SLOW_SECONDS, _WELL_RATE = 5.0, 0.9


class State(enum.Enum):
    """How a provider is."""

    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    CIRCUIT_OPEN = "circuit_open"
    HALF_OPEN = "half_open"


class Failed(Exception):
    """The provider did not answer, or answered that it cannot work now."""

    def __init__(self, detail: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(detail, retry_after_seconds)
        self.detail, self.retry_after_seconds = detail, retry_after_seconds


class CircuitOpen(Exception):
    """The provider failed too often and is left alone for a while."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


@dataclass
class Remark:
    """What is wrong although it answers, such as a key that it refuses."""

    text: str = ""


@dataclass(frozen=True)
class _Asked:
    """How one call went."""

    moment: float
    seconds: float
    is_well: bool


class Health:
    """Lets calls through while the provider answers, and remembers an hour of them."""

    def __init__(
        self,
        failures_max: int = FAILURES_MAX,
        open_seconds: float = OPEN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_max, self._open_seconds, self._clock = failures_max, open_seconds, clock
        self._calls: deque[_Asked] = deque(maxlen=_REMEMBERED)
        self._open_until, self._is_trying = 0.0, False
        self._state = State.UNKNOWN
        self.failure_count, self.waiting_count, self.detail = 0, 0, ""
        self.check_time: datetime | None = None
        self.state_time: datetime | None = None

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Remark]:
        """Around one call: raises `CircuitOpen`; a `Failed` out of it counts as a failure."""
        wait = self.wait_seconds
        if wait > 0.0:
            raise CircuitOpen(wait)
        is_trial = self.failure_count >= self._failures_max
        self._is_trying = self._is_trying or is_trial
        begun, remark = self._clock(), Remark()
        try:
            yield remark
        except Failed as error:
            self._note(begun, False, error.detail)
            raise
        except asyncio.CancelledError:
            raise  # it says nothing of the provider
        except Exception:
            self._note(begun, True, remark.text)  # it answers, though it refuses
            raise
        else:
            self._note(begun, True, remark.text)
        finally:
            if is_trial:
                self._is_trying = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a call's wait for it to come back."""
        self.waiting_count += 1
        try:
            yield
        finally:
            self.waiting_count -= 1

    @property
    def wait_seconds(self) -> float:
        """How long nobody may ask; 0 when the caller may."""
        if self.failure_count < self._failures_max:
            return 0.0
        if self._is_trying:
            return 1.0  # one tries; the rest wait for what becomes of it
        return max(0.0, self._open_until - self._clock())

    @property
    def retry_time(self) -> datetime | None:
        """When an open circuit lets a call through again."""
        if self.state is not State.CIRCUIT_OPEN:
            return None
        return datetime.now(UTC) + timedelta(seconds=self.wait_seconds)

    @property
    def state(self) -> State:
        """How it is."""
        if self.failure_count >= self._failures_max:
            is_open = self._clock() < self._open_until and not self._is_trying
            return State.CIRCUIT_OPEN if is_open else State.HALF_OPEN
        return self._state

    @property
    def latency_seconds(self) -> float:
        """The median time of answers over the last hour."""
        times = [each.seconds for each in self._recent() if each.is_well]
        return statistics.median(times) if times else 0.0

    @property
    def success_rate(self) -> float:
        """The share of calls it answered over the last hour."""
        calls = self._recent()
        return sum(each.is_well for each in calls) / len(calls) if calls else 0.0

    def is_older_than(self, seconds: float) -> bool:
        """Whether it was not asked for so long."""
        return not self._calls or self._clock() - self._calls[-1].moment > seconds

    def _note(self, begun: float, is_well: bool, detail: str) -> None:
        now = self._clock()
        self._calls.append(_Asked(now, now - begun, is_well))
        self.failure_count = 0 if is_well else self.failure_count + 1
        self.detail, self.check_time = detail, datetime.now(UTC)
        before = self._state
        if self.failure_count >= self._failures_max:
            self._open_until = now + self._open_seconds
            self._state = State.CIRCUIT_OPEN
        elif self.failure_count:
            self._state = State.DOWN
        elif detail or self.success_rate < _WELL_RATE or self.latency_seconds > _SLOW_SECONDS:
            self._state = State.DEGRADED
        else:
            self._state = State.UP
        if self._state is not before:
            self.state_time = self.check_time

    def _recent(self) -> list[_Asked]:
        since = self._clock() - _HOUR_SECONDS
        return [each for each in self._calls if each.moment >= since]
