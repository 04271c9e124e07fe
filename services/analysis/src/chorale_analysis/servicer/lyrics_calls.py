"""The call that finds words: provider after provider, and how each answered."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import urllib3
from chorale.analysis.v1 import lyrics_pb2
from chorale_runtime.calls import Context

from chorale_analysis import engines, messages
from chorale_analysis.lyrics.asking import Breaker, Failed, NotFound, OutOfTime, Refused, Web
from chorale_analysis.lyrics.genius import Genius
from chorale_analysis.lyrics.lrclib import Lrclib
from chorale_analysis.lyrics.words import Wish, Words
from chorale_analysis.messages.lyrics import lyrics, wish
from chorale_analysis.settings import Settings

_RETRY_AFTER_SECONDS = 30.0
_AT_ONCE = 16  # questions under way
FOUND, NOT_FOUND, NOT_CONFIGURED = "found", "not_found", "not_configured"
CIRCUIT_OPEN, TIMEOUT, REFUSED, FAILED = "circuit_open", "timeout", "refused", "failed"


class ProviderNotConfigured(Exception):
    """The provider is not set up here, or has no key."""

    def __init__(self, provider: str, remedy: str, alternatives: str) -> None:
        super().__init__(provider, remedy, alternatives)
        self.provider, self.remedy, self.alternatives = provider, remedy, alternatives

    def __str__(self) -> str:
        return f"The provider {self.provider!r} is not set up here. What helps: {self.remedy}."


class ProviderUnavailable(Exception):
    """The provider is down, or its circuit is open."""

    def __init__(self, provider: str, state: str, detail: str, alternatives: str) -> None:
        super().__init__(provider, state, detail, alternatives)
        self.provider, self.state, self.detail = provider, state, detail
        self.alternatives, self.retry_after_seconds = alternatives, _RETRY_AFTER_SECONDS

    def __str__(self) -> str:
        return f"The provider {self.provider!r} does not answer: {self.detail}."


class ProviderRefused(Exception):
    """The provider refused the key or the request."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(provider, detail)
        self.provider, self.detail = provider, detail

    def __str__(self) -> str:
        return f"The provider {self.provider!r} refused: {self.detail}."


class ProviderTimeout(Exception):
    """The provider did not answer in time."""

    def __init__(self, provider: str, timeout_seconds: float) -> None:
        super().__init__(provider, timeout_seconds)
        self.provider, self.timeout_seconds = provider, timeout_seconds

    def __str__(self) -> str:
        return f"The provider {self.provider!r} did not answer within {self.timeout_seconds:g} s."


class _Provider(Protocol):
    name: str
    needs_key: bool

    def find(self, web: Web, wish: Wish, key: str) -> Words: ...


@dataclass(frozen=True)
class _Attempt:
    provider: str
    outcome: str
    seconds: float
    detail: str
    words: Words | None = None


class LyricsDesk:
    """The providers, whether each may be asked, and asking them."""

    def __init__(self, settings: Settings) -> None:
        known: list[_Provider] = [
            Lrclib(settings.lrclib_url),
            Genius(settings.genius_url, settings.genius_pages_url),
        ]
        self._providers = {one.name: one for one in known}
        self._enabled = list(settings.lyrics_order)
        self._keys: Mapping[str, str] = {"genius": settings.genius_key}
        self._breakers = {name: Breaker() for name in self._providers}
        self._pool = urllib3.PoolManager(maxsize=_AT_ONCE)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self.timeout_seconds = settings.lyrics_timeout_seconds

    def order(self, preferred: str, only_preferred: bool) -> list[str]:
        """Whom to ask: the preferred one first, then those that are set up, in their order."""
        if not preferred:
            return self._enabled or ["lrclib"]
        rest = [name for name in self._enabled if name != preferred]
        return [preferred] if only_preferred else [preferred, *rest]

    def remedy(self, name: str) -> str:
        """How a provider is set up."""
        if name not in self._providers:
            return f"ask one of {', '.join(self._providers)}"
        needed = f"CHORALE_LYRICS_PROVIDERS={name}"
        return f"set {needed} and CHORALE_GENIUS_KEY" if name == "genius" else f"set {needed}"

    async def ask(self, name: str, wanted: Wish, own_key: str) -> _Attempt:
        """Asks one provider, in a thread."""
        provider, started = self._providers.get(name), time.monotonic()
        key = own_key or self._keys.get(name, "")
        may = provider is not None and (name in self._enabled or bool(own_key))
        if provider is None or not may or (provider.needs_key and not key):
            return _Attempt(name, NOT_CONFIGURED, 0.0, self.remedy(name))
        async with self._at_once:
            if (wait := self._breakers[name].wait_seconds()) > 0:
                return _Attempt(name, CIRCUIT_OPEN, 0.0, f"left alone for {wait:.0f} s more")
            outcome, detail, words = await asyncio.to_thread(
                _asked, provider, Web(self._pool, self.timeout_seconds), wanted, key
            )
        self._breakers[name].note(outcome not in (TIMEOUT, FAILED))
        return _Attempt(name, outcome, time.monotonic() - started, detail, words)

    def error(self, attempt: _Attempt) -> Exception:
        """What an attempt that gave no answer is told as."""
        others = ",".join(name for name in self._enabled if name != attempt.provider)
        if attempt.outcome == NOT_CONFIGURED:
            return ProviderNotConfigured(attempt.provider, self.remedy(attempt.provider), others)
        if attempt.outcome == REFUSED:
            return ProviderRefused(attempt.provider, attempt.detail)
        if attempt.outcome == TIMEOUT:
            return ProviderTimeout(attempt.provider, self.timeout_seconds)
        return ProviderUnavailable(attempt.provider, attempt.outcome, attempt.detail, others)


def _asked(provider: _Provider, web: Web, wanted: Wish, key: str) -> tuple[str, str, Words | None]:
    try:
        return FOUND, "", provider.find(web, wanted, key)
    except NotFound as error:
        return NOT_FOUND, error.detail, None
    except Refused as error:
        return REFUSED, error.detail, None
    except OutOfTime as error:
        return TIMEOUT, error.detail, None
    except Failed as error:
        return FAILED, error.detail, None


class LyricsCalls:
    """Part of AnalysisService."""

    _lyrics: LyricsDesk

    async def FindLyrics(
        self, request: lyrics_pb2.FindLyricsRequest, _: Context
    ) -> lyrics_pb2.FindLyricsResponse:
        """Finds words at the providers that are set up."""
        started, wanted = time.monotonic(), wish(request)
        response = lyrics_pb2.FindLyricsResponse(searched_for=wanted.searched_for)
        attempts: list[_Attempt] = []
        for name in self._lyrics.order(request.preferred_provider, request.only_preferred):
            own_key = request.provider_key if name == request.preferred_provider else ""
            if not wanted.searched_for:
                break  # nothing but blanks: nobody has a song of that name
            attempt = await self._lyrics.ask(name, wanted, own_key)
            attempts.append(attempt)
            if attempt.words is not None:
                response.found = True
                response.lyrics.CopyFrom(lyrics(attempt.words))
                break
        if attempts and not any(one.outcome in (FOUND, NOT_FOUND) for one in attempts):
            raise self._lyrics.error(attempts[0])
        for one in attempts:
            response.providers_tried.add(
                provider=one.provider, outcome=one.outcome, seconds=one.seconds, detail=one.detail
            )
        made_by = messages.provenance(
            request.preferred_provider, engines.LIBRARIAN, {}, time.monotonic() - started
        )
        made_by.engine_used = attempts[-1].provider if attempts else ""
        response.provenance.CopyFrom(made_by)
        return response
