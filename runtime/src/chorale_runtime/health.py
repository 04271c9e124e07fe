"""Health: `grpc.health.v1`, by the full name of each service.

""                    all of this server: built, not draining, every probe well
chorale.x.v1.XService the same, for those who ask by name
live                  the process answers; for liveness, where a restart must be the cure
taking                built and not draining; for clients that choose among replicas, and still
                      want the error that says which dependency is away
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chorale_runtime.app import Service
from chorale_runtime.calls import Context

LIVE, TAKING = "live", "taking"

# How often a watched server is looked at again; the probes' own cache is as long.
_WATCH_SECONDS = 5.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

_log = logging.getLogger(__name__)


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers for all services of one server."""

    def __init__(self) -> None:
        self._names = {""}
        self._is_ready: Callable[[], Awaitable[bool]] | None = None
        self._changed = asyncio.Event()
        self._is_closed = False

    def service(self) -> Service:
        """This servicer, as the runtime serves it."""
        return Service(
            health_pb2.DESCRIPTOR.services_by_name["Health"],
            self,
            health_pb2_grpc.add_HealthServicer_to_server,
            open=True,
        )

    def begin(self, names: Iterable[str], is_ready: Callable[[], Awaitable[bool]]) -> None:
        """From now on every name is as well as the probes say."""
        self._names.update(names)
        self._is_ready = is_ready
        self._tell_watchers()

    def end(self) -> None:
        """From now on nothing is serving: the server drains."""
        self._is_ready = None
        self._tell_watchers()

    def close(self) -> None:
        """Ends the streams of watchers, who must not keep the server from ending."""
        self._is_closed = True
        self._tell_watchers()

    async def is_serving(self) -> bool:
        """Says whether calls should come here."""
        return self._is_ready is not None and await self._is_ready()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Says how one name is; an unknown one is NOT_FOUND, as the protocol has it."""
        status = await self._status(request.service)
        if status == _SERVICE_UNKNOWN and self._is_ready is not None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "No service of this name is here.")
        return health_pb2.HealthCheckResponse(
            status=_NOT_SERVING if status == _SERVICE_UNKNOWN else status
        )

    async def List(
        self, _request: health_pb2.HealthListRequest, _context: Context
    ) -> health_pb2.HealthListResponse:
        """Says how every name is."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=await self._status(name))
                for name in sorted(self._names)
            }
        )

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Says how one name is, and again whenever that changes, until the server drains."""
        told: int | None = None
        while True:
            changed = self._changed
            status = await self._status(request.service)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._is_closed:
                return
            try:
                async with asyncio.timeout(_WATCH_SECONDS):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _status(self, name: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        if name == LIVE:
            return _SERVING
        if name == TAKING:
            return _SERVING if self._is_ready is not None else _NOT_SERVING
        if name not in self._names:
            return _SERVICE_UNKNOWN
        return _SERVING if await self.is_serving() else _NOT_SERVING

    def _tell_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
