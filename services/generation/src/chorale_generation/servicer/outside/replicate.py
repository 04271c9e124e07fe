"""Replicate, by its own client: what a training there takes, and nothing else.

The client is an extra of this package (`chorale-generation[replicate]`) and imported when it is
first wanted. Of what the server says of a refusal the key is taken out before anybody sees it.
"""

import asyncio
import importlib
import importlib.util
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chorale_generation.engines import CASCADE, REPLICATE
from chorale_generation.providers import (
    ProviderNotConfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from chorale_generation.servicer.outside.health import CircuitOpen, Failed, Health, Remark

NAME, ALTERNATIVE = REPLICATE.name, CASCADE
REMEDY = "set CHORALE_REPLICATE_API_TOKEN"
INSTALL = "install its client by `pip install 'chorale-generation[replicate]'`"
_TRIES, _PAUSE_SECONDS, _PATIENCE_SECONDS = 3, 1.0, 60.0
_BUSY = (429, 503, 504)
_DETAIL_CHARACTERS = 300
_PAGES = 3  # of trainings, newest first, to find one whose identity was never heard
_NOT_FOUND = "404"

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """Where it is served, and how one is let in."""

    key: str = field(default="", repr=False)
    url: str = "https://api.replicate.com"
    hardware: str = "gpu-l40s"
    timeout_seconds: float = 30.0
    upload_seconds: float = 1800.0


@dataclass(frozen=True)
class Stored:
    """A file that lies there."""

    id: str
    url: str


@dataclass(frozen=True)
class Seen:
    """How a training there stands."""

    id: str
    status: str
    log: tuple[str, ...] = ()
    error: str = ""
    version: str = ""


class Replicate:
    """Asks it: in its time, three times at most, and not at all while it is down."""

    def __init__(
        self, access: Access, health: Health, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._access, self.health = access, health
        self._pause_seconds = pause_seconds
        self._client: Any = None
        self._opening = asyncio.Lock()

    @property
    def remedy(self) -> str:
        """What to do before it can be asked; empty when nothing."""
        if not self._access.key:
            return REMEDY
        return "" if importlib.util.find_spec(NAME) else INSTALL

    async def aclose(self) -> None:
        """Lets go of its connections."""
        if self._client is not None:
            await self._client._async_client.aclose()

    async def account(self, tries: int = 1, timeout_seconds: float = 5.0) -> str:
        """Who the key belongs to."""

        async def call(client: Any) -> str:
            return str((await client.accounts.async_current()).username)

        return await self._asked(call, tries=tries, timeout_seconds=timeout_seconds)

    async def upload(self, path: Path, name: str, told: dict[str, str]) -> Stored:
        """Stores a file there. What is cut off on the way is no file yet, and is sent again."""

        async def call(client: Any) -> Stored:
            with path.open("rb") as file:
                made = await client.files.async_create(
                    file, filename=name, content_type="application/zip", metadata=told
                )
            return Stored(made.id, made.urls["get"])

        return await self._asked(call, timeout_seconds=self._access.upload_seconds)

    async def require_model(self, owner: str, name: str) -> str:
        """A private model that trained versions go to, made where there is none."""

        async def find(client: Any) -> None:
            await client.models.async_get(owner, name)

        async def make(client: Any) -> None:
            await client.models.async_create(
                owner, name, visibility="private", hardware=self._access.hardware
            )

        try:
            await self._asked(find)
        except ProviderRefused as error:
            if error.status != _NOT_FOUND:
                raise
            await self._asked(make, tries=1)
        return f"{owner}/{name}"

    async def begin(self, trainer: str, given: dict[str, Any], destination: str) -> str:
        """Begins a training and returns its identity.

        Asked once: an answer that is lost may stand for a training that runs. `begun_with` tells.
        """
        model, _, version = trainer.partition(":")

        async def call(client: Any) -> str:
            made = await client.trainings.async_create(
                model=model, version=version, input=given, destination=destination
            )
            return str(made.id)

        return await self._asked(call, tries=1)

    async def begun_with(self, file_url: str) -> str:
        """The training that was begun with a file; empty when none was."""

        async def call(client: Any) -> str:
            page = await client.trainings.async_list()
            for _ in range(_PAGES):
                for each in page.results:
                    if file_url in (each.input or {}).values():
                        return str(each.id)
                if not page.next:
                    break
                page = await client.trainings.async_list(page.next)
            return ""

        return await self._asked(call)

    async def seen(self, training: str) -> Seen:
        """How a training stands."""

        async def call(client: Any) -> Seen:
            return self._read(await client.trainings.async_get(training))

        return await self._asked(call, tries=1)

    async def cancel(self, training: str) -> None:
        """Stops a training; one that is over, or not there, needs no more."""

        async def call(client: Any) -> None:
            await client.trainings.async_cancel(training)

        try:
            await self._asked(call)
        except ProviderRefused as error:
            if error.is_about_key:
                raise  # it may go on, and cost

    async def forget(self, file: str) -> None:
        """Deletes a file; one that is gone is gone."""

        async def call(client: Any) -> None:
            await client.files.async_delete(file)

        with suppress(
            ProviderRefused, ProviderUnavailable, ProviderNotConfigured
        ):  # it expires there by itself
            await self._asked(call, tries=1)

    async def _asked(
        self,
        call: Callable[[Any], Awaitable[T]],
        tries: int = _TRIES,
        timeout_seconds: float = 0.0,
    ) -> T:
        """What a call comes to; raises `ProviderUnavailable` and `ProviderRefused`."""
        if self.remedy:
            raise ProviderNotConfigured(NAME, self.remedy, ALTERNATIVE)
        client = await self._opened()
        seconds, wait = timeout_seconds or self._access.timeout_seconds, 0.0
        for left in range(tries - 1, -1, -1):
            try:
                async with self.health.asked() as remark:
                    return await self._once(client, call, seconds, remark)
            except CircuitOpen as error:
                raise ProviderUnavailable(
                    NAME, "circuit_open", ALTERNATIVE, error.wait_seconds
                ) from error
            except (Failed, _Limited) as error:
                pause = self._pause_seconds * 2.0 ** (tries - 1 - left)
                wait = error.retry_after_seconds or pause * random.uniform(0.8, 1.2)  # noqa: S311
                if not left or wait > _PATIENCE_SECONDS:
                    raise ProviderUnavailable(NAME, error.detail, ALTERNATIVE, wait) from None
            with self.health.waiting():
                await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, client: Any, call: Callable[[Any], Awaitable[T]], seconds: float, remark: Remark
    ) -> T:
        """One call, with its errors told as ours; `from None`: theirs may quote what was sent."""
        httpx = importlib.import_module("httpx")
        theirs = importlib.import_module("replicate.exceptions")
        try:
            async with asyncio.timeout(seconds):
                return await call(client)
        except (TimeoutError, httpx.TimeoutException):
            raise Failed("timeout") from None
        except httpx.HTTPError as error:
            raise Failed(f"down: {type(error).__name__}") from None
        except theirs.ReplicateError as error:
            if error.status >= 500:
                raise Failed(f"HTTP {error.status}") from None
            detail = self._clean(error.detail or error.title or "")
            refused = ProviderRefused(NAME, str(error.status), detail)
            if refused.is_about_key:
                remark.text = f"it refuses the key (HTTP {error.status})"
            raise refused from None
        except _Limited as error:
            remark.text = error.detail
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failed("an answer that is none") from None

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open)
        return self._client

    def _open(self) -> Any:
        httpx = importlib.import_module("httpx")
        client = importlib.import_module("replicate.client")
        return client.Client(
            api_token=self._access.key,
            base_url=self._access.url,
            timeout=httpx.Timeout(self._access.timeout_seconds),
            transport=_Transport(httpx.AsyncHTTPTransport()),
        )

    def _read(self, training: Any) -> Seen:
        output = training.output if isinstance(training.output, dict) else {}
        return Seen(
            training.id,
            training.status,
            tuple(self._clean(line) for line in (training.logs or "").splitlines() if line.strip()),
            self._clean(str(training.error or "")),
            str(output.get("version") or ""),
        )

    def _clean(self, text: str) -> str:
        return text.replace(self._access.key, "[key]").strip()[:_DETAIL_CHARACTERS]


class _Limited(Exception):
    """It asks for patience: it is well, and busy with too much of ours."""

    def __init__(self, detail: str, retry_after_seconds: float) -> None:
        super().__init__(detail, retry_after_seconds)
        self.detail, self.retry_after_seconds = detail, retry_after_seconds


class _Transport:
    """Tells of busy answers before the client's own retries see them: those wait as long as told.

    A server that is asked to wait for an hour must not hold a call for an hour.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def handle_async_request(self, request: Any) -> Any:
        """Sends a request."""
        answer = await self._inner.handle_async_request(request)
        if answer.status_code not in _BUSY:
            return answer
        told = answer.headers.get("Retry-After", "").strip()
        await answer.aclose()
        seconds = float(told) if told.isdecimal() and len(told) < 7 else 0.0
        if answer.status_code == 429:
            raise _Limited("rate limited", seconds)
        raise Failed(f"HTTP {answer.status_code}", seconds)

    async def aclose(self) -> None:
        """Closes connections."""
        await self._inner.aclose()
