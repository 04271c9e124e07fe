"""Facts put into other words by a language model, where one is configured.

Any server that speaks OpenAI's chat completions: theirs, or one of your own beside the mesh.
"""

import asyncio
import json
import re
import unicodedata
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

from chorale_generation.engines import EXPLAINER, REPHRASER
from chorale_generation.providers import ProviderNotConfigured, ProviderUnavailable
from chorale_generation.servicer.outside.health import CircuitOpen, Failed, Health

_ANSWER_MAX_BYTES, _TEXT_MAX_CHARACTERS, _TOKENS_MAX = 1 << 20, 8000, 1000
_TIMEOUT_SECONDS = 30.0
_ASKED = (
    "Rephrase these facts about a piece of music as a short, friendly text in the language {}. "
    "Say nothing that they do not say, and keep every number as it is written. Answer with the "
    "text alone."
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Access:
    """Where a language model is served, and how one is let in."""

    url: str = ""
    model: str = ""
    key: str = ""

    @property
    def is_configured(self) -> bool:
        """Whether there is one. Servers of one's own may ask for no key."""
        return bool(self.url and self.model)


class Rephraser:
    """Asks a language model for other words, and lets none through that tell other numbers."""

    def __init__(self, access: Access, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._access, self._timeout_seconds = access, timeout_seconds
        self.health = Health()

    @property
    def is_configured(self) -> bool:
        """Whether there is one to ask."""
        return self._access.is_configured

    async def rephrased(self, text: str, language: str) -> tuple[str, str]:
        """The text in other words, and why it is not, where what came was not to be trusted.

        Raises `ProviderNotConfigured` and `ProviderUnavailable`.
        """
        if not self.is_configured:
            raise ProviderNotConfigured(REPHRASER.name, REPHRASER.remedy, EXPLAINER.name)
        try:
            async with self.health.asked():
                answer = await asyncio.to_thread(self._asked, text, language)
        except CircuitOpen as error:
            raise _unavailable("circuit_open", error.wait_seconds) from error
        except Failed as error:
            raise _unavailable(error.detail) from error
        try:
            said: str = answer["choices"][0]["message"]["content"].strip()
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise _unavailable("an answer without a text") from error
        strange = sorted(_numbers(said) - _numbers(text))
        if strange:
            return text, f"it names {', '.join(strange[:3])}, which no fact does"
        if not 0 < len(said) <= _TEXT_MAX_CHARACTERS:
            return text, f"it is {len(said)} characters long"
        return said, ""

    def _asked(self, text: str, language: str) -> Any:
        messages = [
            {"role": "system", "content": _ASKED.format(language)},
            {"role": "user", "content": text},
        ]
        body = {"model": self._access.model, "messages": messages, "max_tokens": _TOKENS_MAX}
        headers = {"Content-Type": "application/json"}
        if self._access.key:
            headers["Authorization"] = f"Bearer {self._access.key}"
        url = f"{self._access.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - a setting
        try:
            with _OPENER.open(request, timeout=self._timeout_seconds) as answer:
                return json.loads(answer.read(_ANSWER_MAX_BYTES))
        except urllib.error.HTTPError as error:
            # What it says may repeat the key; its status is enough to know what to do.
            error.close()
            raise Failed(f"HTTP {error.code}") from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            is_late = isinstance(reason, TimeoutError)
            raise Failed("timeout" if is_late else "down") from error
        except ValueError as error:
            raise Failed("an answer that is no JSON") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to wherever it points."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follows none."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def _unavailable(state: str, retry_after_seconds: float = 30.0) -> ProviderUnavailable:
    return ProviderUnavailable(REPHRASER.name, state, EXPLAINER.name, retry_after_seconds)


def _numbers(text: str) -> set[str]:
    """All numbers of a text, in whatever digits: words must not tell others than facts do."""
    found = _NUMBER.findall(text)
    return {
        "".join(str(unicodedata.digit(each, ".")) for each in number).replace(",", ".")
        for number in found
    }
