"""Calling other services of the mesh: connections that carry on what the running call knows.

A channel adds to every call made over it

* the deadline that remains to the call being answered,
* the trace it belongs to (`traceparent`),
* whom it is made for (`chorale-on-behalf-of`), and the service's own token.

It spreads calls over all replicas of a name, retries what never reached one, and reconnects
with new certificates when their files change.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from chorale_runtime import caller, deadline, traces
from chorale_runtime.health import TAKING
from chorale_runtime.identity import ON_BEHALF_OF, ON_BEHALF_OF_TIER
from chorale_runtime.listening import is_loopback
from chorale_runtime.settings import ServerSettings
from chorale_runtime.tls import WatchedFiles

_MESSAGE_BYTES_MAX = 4 << 20
_CERTIFICATES_LOOKED_AT_SECONDS = 10.0
# How long calls may go on over a connection that was replaced because certificates changed.
_RETIRED_SECONDS = 3600.0

# A replica that starts or drains says so itself, and is passed over: a list of addresses has no
# readiness of its own, and DNS is late.
#
# Only what the server never began is retried by the channel: UNAVAILABLE. Anything more needs
# to know the call: that is the client's business.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": TAKING},
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

OPTIONS: Sequence[tuple[str, str | int]] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
)

_SCHEME = re.compile(r"(dns|ipv4|ipv6):(//[^/]*/)?")

Request = AsyncIterable[Any] | Iterable[Any] | Any


def channel(address: str, settings: ServerSettings | None = None) -> Channel:
    """Opens a channel to another service; close it, or use it as `async with`."""
    return Channel(address, settings or ServerSettings())


class Channel(grpc.aio.Channel):
    """What generated stubs take for a channel: `IngestServiceStub(channel(...))`."""

    def __init__(self, address: str, settings: ServerSettings) -> None:
        self._address = address
        self._token = settings.service_token
        self._dial = _dialler(settings)
        self._files = WatchedFiles(_files(settings))
        self._files_checked_at = float("-inf")
        self._retired: set[asyncio.Task[None]] = set()
        self._real: grpc.aio.Channel | None = None
        self._current()

    async def __aenter__(self) -> Self:
        """Opens nothing more: connections are made when they are first needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes every connection."""
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes every connection, replaced ones too."""
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        if self._real is not None:
            await self._real.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Says whether it is connected."""
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until that is no longer so."""
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until it is connected."""
        await self._current().channel_ready()

    def unary_unary(self, method: str, *codecs: Any, **options: Any) -> Any:
        """Makes a callable for a method, as generated stubs ask for it."""
        return self._callable("unary_unary", method, codecs, options)

    def unary_stream(self, method: str, *codecs: Any, **options: Any) -> Any:
        """Makes a callable for a method, as generated stubs ask for it."""
        return self._callable("unary_stream", method, codecs, options)

    def stream_unary(self, method: str, *codecs: Any, **options: Any) -> Any:
        """Makes a callable for a method, as generated stubs ask for it."""
        return self._callable("stream_unary", method, codecs, options)

    def stream_stream(self, method: str, *codecs: Any, **options: Any) -> Any:
        """Makes a callable for a method, as generated stubs ask for it."""
        return self._callable("stream_stream", method, codecs, options)

    def _callable(
        self, shape: str, method: str, codecs: tuple[Any, ...], options: dict[str, Any]
    ) -> Callable[..., Any]:
        made: dict[grpc.aio.Channel, Any] = {}

        def call(
            request: Request = None,
            *,
            timeout: float | None = None,
            metadata: Iterable[tuple[str, str | bytes]] | None = None,
            **more: Any,
        ) -> Any:
            real = self._current()
            if real not in made:
                made.clear()
                made[real] = getattr(real, shape)(method, *codecs, **options)
            return made[real](
                request,
                timeout=_sooner(timeout, deadline.seconds_left()),
                metadata=(*(metadata or ()), *self._carried()),
                **more,
            )

        return call

    def _carried(self) -> Iterable[tuple[str, str]]:
        if context := traces.traceparent():
            yield "traceparent", context
        who = caller.current_or_none()
        if who is not None:
            yield ON_BEHALF_OF, who.principal
            yield ON_BEHALF_OF_TIER, who.tier
        if self._token:
            yield "authorization", f"Bearer {self._token}"

    def _current(self) -> grpc.aio.Channel:
        now = time.monotonic()
        if now - self._files_checked_at >= _CERTIFICATES_LOOKED_AT_SECONDS or self._real is None:
            self._files_checked_at = now
            self._follow_files()
        assert self._real is not None  # the first look always dials
        return self._real

    def _follow_files(self) -> None:
        try:
            contents = self._files.changed()
        except OSError:
            if self._real is None:
                raise
            return  # in the middle of being replaced: the standing connections go on
        if contents is None and self._real is not None:
            return
        old, self._real = self._real, self._dial(self._address, contents or ())
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.close(_RETIRED_SECONDS))
            self._retired.add(task)
            task.add_done_callback(self._retired.discard)


def _sooner(asked: float | None, left: float | None) -> float | None:
    if asked is None or left is None:
        return left if asked is None else asked
    return min(asked, left)


def _files(settings: ServerSettings) -> tuple[Path, ...]:
    if not settings.peer_ca_file:
        return ()
    own = (settings.tls_key_file, settings.tls_cert_file)
    names = (settings.peer_ca_file, *own) if all(own) else (settings.peer_ca_file,)
    return tuple(Path(name) for name in names)


def _dialler(
    settings: ServerSettings,
) -> Callable[[str, tuple[bytes, ...]], grpc.aio.Channel]:
    def dial(address: str, contents: tuple[bytes, ...]) -> grpc.aio.Channel:
        options = options_for(address)
        if not settings.peer_ca_file:
            return grpc.aio.insecure_channel(address, options=options)
        authority, *own = contents
        key, chain = own or (None, None)
        credentials = grpc.ssl_channel_credentials(authority, key, chain)
        return grpc.aio.secure_channel(address, credentials, options=options)

    return dial


def options_for(address: str) -> Sequence[tuple[str, str | int]]:
    """The channel arguments towards an address.

    gRPC obeys `http_proxy` and its kin even for 127.0.0.1, where no proxy knows the way to.
    Other addresses go as the environment says: `no_proxy` is there to leave a cluster's own out.
    """
    return (*OPTIONS, ("grpc.enable_http_proxy", 0)) if _is_local(address) else OPTIONS


def _is_local(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    hosts = _SCHEME.sub("", address, count=1).split(",")
    return all(is_loopback(host.rpartition(":")[0].strip("[]")) for host in hosts)
