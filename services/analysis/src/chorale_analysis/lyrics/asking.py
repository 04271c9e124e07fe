"""Asking a provider over HTTP: in its time, never for long, and not at all while it is down."""

import json
import time
from collections.abc import Mapping
from typing import Any

import urllib3

_ANSWER_BYTES_MAX = 4 << 20
_REFUSED = (400, 401, 403, 407, 451)
_NOT_FOUND = 404


class NotFound(Exception):
    """The provider does not have it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Refused(Exception):
    """The provider will not answer this request or key."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Failed(Exception):
    """The provider is down, busy, or answers nonsense."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class OutOfTime(Exception):
    """The provider did not answer in time."""

    def __init__(self, detail: str = "no answer in time") -> None:
        super().__init__(detail)
        self.detail = detail


class Breaker:
    """Whether a provider may be asked: after failures in a row, it is left alone for a while.

    (M. Nygard, "Release It!", circuit breaker.) Then one caller tries, and the rest still wait.
    """

    def __init__(self, failures_max: int = 5, open_seconds: float = 30.0) -> None:
        self._failures_max, self._open_seconds = failures_max, open_seconds
        self._failures, self._open_until = 0, 0.0

    def wait_seconds(self) -> float:
        """How long nobody may ask; 0 when the caller may, and should."""
        now = time.monotonic()
        if now < self._open_until:
            return self._open_until - now
        if self._failures >= self._failures_max:
            self._open_until = now + self._open_seconds
        return 0.0

    def note(self, is_well: bool) -> None:
        """How asking went."""
        self._failures = 0 if is_well else self._failures + 1
        tired = self._failures >= self._failures_max
        self._open_until = time.monotonic() + self._open_seconds if tired else 0.0


class Web:
    """One provider's servers, asked within one span of time."""

    def __init__(self, pool: urllib3.PoolManager, timeout_seconds: float) -> None:
        self._pool = pool
        self._until = time.monotonic() + timeout_seconds

    def json(
        self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Any:
        """What a GET answers, read as JSON."""
        try:
            return json.loads(self.text(url, fields, headers))
        except ValueError:
            raise Failed("its answer is no JSON") from None

    def text(
        self,
        url: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """What a GET answers; raises `NotFound`, `Refused`, `Failed` and `OutOfTime`."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        try:
            answer = self._pool.request(
                "GET",
                url,
                fields=dict(fields or {}),
                headers={"User-Agent": "chorale-analysis/0.1", **(headers or {})},
                timeout=urllib3.Timeout(total=left),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            with answer:
                data = self._read(answer)
        except urllib3.exceptions.TimeoutError:
            raise OutOfTime from None
        except urllib3.exceptions.HTTPError as error:
            # Never its text: it may quote what was sent.
            raise Failed(type(error).__name__) from None
        return _judged(answer.status, data)

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """The body, so long as it is not endless."""
        data = bytearray()
        for piece in answer.stream(1 << 16):
            data += piece
            if len(data) > _ANSWER_BYTES_MAX:
                raise Failed(f"its answer is over {_ANSWER_BYTES_MAX} bytes")
            if time.monotonic() > self._until:
                raise OutOfTime
        return bytes(data)


def _judged(status: int, data: bytes) -> str:
    if status == _NOT_FOUND:
        raise NotFound("no such song")
    if status in _REFUSED:
        raise Refused(f"status {status}")
    if status != 200:
        raise Failed(f"status {status}")
    return data.decode("utf-8", "replace")
