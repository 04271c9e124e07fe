"""AcoustID: what the world calls a recording. Off unless a key is configured or brought.

A provider that fails again and again is left alone for a while (M. Nygard, "Release It!", circuit
breaker): callers are told at once, and one of them tries again later.
"""

import asyncio
import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FAILURES_MAX, _OPEN_SECONDS = 5, 30.0
_META = ("recordings", "compress")
_MATCHES_MAX, _IDS_MAX, _TEXT_MAX = 20, 100, 200
# What AcoustID says of a key or request that it will never take (its API, `error.code`); others are
# its own trouble.
_REFUSED_CODES = frozenset(range(1, 5)) | frozenset(range(6, 13)) | {15, 16, 17, 18}
PROVIDER = "acoustid"


class ProviderNotConfigured(Exception):
    """The provider has no key here."""

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self.provider, self.missing = provider, "CHORALE_ACOUSTID_KEY"

    def __str__(self) -> str:
        return f"{self.provider} has no key here: set {self.missing}, or bring provider_key."


class ProviderUnavailable(Exception):
    """The provider is down, or its circuit is open."""

    def __init__(self, provider: str, detail: str, retry_after_seconds: float) -> None:
        super().__init__(provider, detail, retry_after_seconds)
        self.provider, self.detail = provider, detail
        self.retry_after_seconds, self.alternatives = retry_after_seconds, "Identify"

    def __str__(self) -> str:
        return (
            f"{self.provider} does not answer: {self.detail}. Try again in"
            f" {self.retry_after_seconds:.0f} s, or ask {self.alternatives}."
        )


class ProviderRefused(Exception):
    """The provider refused the key or the request."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(provider, detail)
        self.provider, self.detail = provider, detail

    def __str__(self) -> str:
        return f"{self.provider} refused: {self.detail}."


class ProviderTimeout(Exception):
    """The provider did not answer in time."""

    def __init__(self, provider: str, timeout_seconds: float) -> None:
        super().__init__(provider, timeout_seconds)
        self.provider, self.timeout_seconds = provider, timeout_seconds

    def __str__(self) -> str:
        return f"{self.provider} did not answer within {self.timeout_seconds:.0f} s."


@dataclass(frozen=True)
class Known:
    """A recording that AcoustID knows."""

    acoust_id: str
    score: float
    musicbrainz_ids: tuple[str, ...]
    title: str
    artist: str


class Breaker:
    """Says whether a provider may be asked; told how each time went."""

    def __init__(self, failures_max: int = _FAILURES_MAX, seconds: float = _OPEN_SECONDS) -> None:
        self._failures_max, self._seconds = failures_max, seconds
        self._failures, self._open_until = 0, 0.0

    def closed_in(self) -> float:
        """How many seconds nobody may ask; 0 when the caller may. Then others wait for them."""
        now = time.monotonic()
        if now < self._open_until:
            return self._open_until - now
        if self._failures >= self._failures_max:
            self._open_until = now + self._seconds  # this caller tries; the rest still wait
        return 0.0

    def succeeded(self) -> None:
        """The provider answered."""
        self._failures, self._open_until = 0, 0.0

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        if self._failures >= self._failures_max:
            self._open_until = time.monotonic() + self._seconds


class AcoustId:
    """Asks AcoustID, one question at a time in a thread."""

    def __init__(
        self, key: str, url: str, timeout_seconds: float, breaker: Breaker | None = None
    ) -> None:
        self._key, self._url, self._timeout_seconds = key, url, timeout_seconds
        self._breaker = breaker or Breaker()

    async def known(self, chromaprint: str, seconds: float, own_key: str) -> list[Known]:
        """What AcoustID knows of a fingerprint, best first."""
        key = own_key or self._key
        if not key:
            raise ProviderNotConfigured(PROVIDER)
        if (wait := self._breaker.closed_in()) > 0:
            raise ProviderUnavailable(PROVIDER, "it failed again and again", wait)
        try:
            answer = await asyncio.to_thread(self._asked, key, chromaprint, seconds)
            found = _parsed(answer)
        except (ProviderUnavailable, ProviderTimeout):
            self._breaker.failed()
            raise
        except BaseException:
            self._breaker.succeeded()  # it answers, though it refuses
            raise
        self._breaker.succeeded()
        return found

    def _asked(self, key: str, chromaprint: str, seconds: float) -> Any:
        # Imported where it is wanted: it brings an HTTP client, which few services need.
        acoustid = importlib.import_module("acoustid")
        requests = importlib.import_module("requests")
        acoustid.set_base_url(self._url)
        try:
            return acoustid.lookup(
                key, chromaprint, seconds, list(_META), timeout=self._timeout_seconds
            )
        except acoustid.WebServiceError as error:
            if isinstance(error.__context__, requests.exceptions.Timeout):
                raise ProviderTimeout(PROVIDER, self._timeout_seconds) from None
            # Never the text of the failure: it may quote what was sent.
            kind = type(error.__context__).__name__
            raise ProviderUnavailable(PROVIDER, kind, _OPEN_SECONDS) from None


def _parsed(answer: Any) -> list[Known]:
    """Reads what AcoustID answers; raises when that is an error, or nothing it should be."""
    if not isinstance(answer, Mapping):
        raise ProviderUnavailable(PROVIDER, "its answer is no object", _OPEN_SECONDS)
    if answer.get("status") != "ok":
        error = answer.get("error")
        code = error.get("code") if isinstance(error, Mapping) else None
        said = str(error.get("message", "")) if isinstance(error, Mapping) else ""
        detail = said[:_TEXT_MAX] or "no reason was given"
        if code in _REFUSED_CODES:
            raise ProviderRefused(PROVIDER, detail)
        raise ProviderUnavailable(PROVIDER, detail, _OPEN_SECONDS)
    results = answer.get("results")
    if not isinstance(results, Sequence):
        raise ProviderUnavailable(PROVIDER, "its answer has no results", _OPEN_SECONDS)
    found = [_known(each) for each in results[:_MATCHES_MAX] if isinstance(each, Mapping)]
    return sorted(found, key=lambda each: -each.score)


def _known(result: Mapping[str, Any]) -> Known:
    listed = result.get("recordings")
    recordings = [each for each in listed or () if isinstance(each, Mapping)]
    named = next((each for each in recordings if each.get("title")), {})
    artists = [each for each in named.get("artists") or () if isinstance(each, Mapping)]
    artist = "".join(f"{each.get('name', '')}{each.get('joinphrase', '')}" for each in artists)
    score = result.get("score")
    return Known(
        acoust_id=str(result.get("id", ""))[:_TEXT_MAX],
        score=min(1.0, max(0.0, float(score))) if isinstance(score, int | float) else 0.0,
        musicbrainz_ids=tuple(str(each["id"]) for each in recordings[:_IDS_MAX] if "id" in each),
        title=str(named.get("title", ""))[:_TEXT_MAX],
        artist=artist[:_TEXT_MAX],
    )
