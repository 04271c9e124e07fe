"""The life of a server: bound at once, built when it can be, drained before it ends.

starting    the port answers: health NOT_SERVING, everything else UNAVAILABLE/NOT_READY
serving     the app has opened what it needs; health says what the probes say
draining    NOT_SERVING, no new long work, a pause while others notice, GOAWAY, grace, cancel
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from chorale_runtime import (
    access,
    draining,
    interceptor,
    listening,
    metrics,
    sideport,
    telemetry,
    tls,
)
from chorale_runtime.app import App, Build, S, Service
from chorale_runtime.calls import Policy
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.dispatch import Dispatch
from chorale_runtime.health import Health
from chorale_runtime.logs import CallLog
from chorale_runtime.probes import Readiness
from chorale_runtime.refusals import NotReady
from chorale_runtime.settings import ServerSettings
from chorale_runtime.traces import Tracer

# How long the app's own clean-up after an interruption may take before gRPC cuts the call off.
_CANCEL_SECONDS = 1.0
_BUILD_RETRY_SECONDS_MAX = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningServer:
    """A server whose app is built."""

    address: str
    metrics_address: str
    app: App


@asynccontextmanager
async def running(settings: S, build: Build[S]) -> AsyncIterator[RunningServer]:
    """Runs a server inside the current loop, from built to drained."""
    async with bound(settings) as server, server.built(settings, build) as app:
        yield RunningServer(server.address, server.metrics_address, app)


@asynccontextmanager
async def bound(settings: ServerSettings) -> AsyncIterator[Server]:
    """Binds the ports and answers on them, before there is an app."""
    listening.check(settings)
    credentials = tls.server_credentials(settings)
    name = service_name(settings)
    health = Health()
    async with (
        telemetry.setup(name, settings) as tracer,
        sideport.open_at(settings.metrics_address, health.is_serving) as metrics_address,
    ):
        grpc_server = grpc.aio.server(options=listening.options(settings))
        server = Server(settings, name, grpc_server, health, tracer)
        grpc_server.add_generic_rpc_handlers((server.dispatch,))
        server.address = listening.bind(grpc_server, settings.address, credentials)
        server.metrics_address = metrics_address
        await grpc_server.start()
        try:
            _announce(settings, server)
            yield server
        finally:
            await server.drain()


class Server:
    """A bound gRPC server and the state it is in."""

    def __init__(
        self,
        settings: ServerSettings,
        name: str,
        grpc_server: grpc.aio.Server,
        health: Health,
        tracer: Tracer,
    ) -> None:
        self._settings, self._grpc, self._health = settings, grpc_server, health
        self._policy = Policy(
            service=name,
            tracer=tracer,
            metrics=metrics.calls(name),
            log=CallLog(name),
            identity=access.LOCAL_ACCESS.identity,
            limits=access.LOCAL_ACCESS.limits,
            errors={},
            max_calls=settings.max_concurrent_calls,
            max_deadline_seconds=settings.max_deadline_seconds,
            max_message_bytes=settings.max_message_bytes,
        )
        standing = App(name, (health.service(),))
        self.dispatch = Dispatch(self._policy, self._wrap(standing))
        self.address = self.metrics_address = ""
        self._is_drained = False
        self._draining = draining.Draining()

    @asynccontextmanager
    async def built(self, settings: S, build: Build[S]) -> AsyncIterator[App]:
        """Builds the app and serves it; drains before what it stands on is closed."""
        draining.use(self._draining)
        async with AsyncExitStack() as stack:
            entry = await stack.enter_async_context(access.opened(settings))
            app = await _built(settings, build, stack)
            self._policy = dataclasses.replace(
                self._policy,
                service=app.name,
                metrics=metrics.calls(app.name),
                log=CallLog(app.name),
                identity=entry.identity,
                limits=entry.limits,
                errors=app.errors,
            )
            names = [service.descriptor.full_name for service in app.services]
            served = dataclasses.replace(app, services=(*app.services, _reflection(names)))
            self.dispatch.serve(self._policy, self._wrap(served))
            readiness = Readiness(app.probes)
            stack.push_async_callback(readiness.close)
            self._health.begin(names, readiness.is_ready)
            _log.info("serving", extra={"address": self.address, "services": names})
            try:
                yield app
            finally:
                await self.drain()

    async def drain(self) -> None:
        """Lets calls in flight end, within the grace; a second draining finds nothing to do."""
        if self._is_drained:
            return
        self._is_drained = True
        grace_seconds, pause_seconds = (
            self._settings.drain_seconds,
            self._settings.endpoint_pause_seconds,
        )
        self._draining.begin(pause_seconds + grace_seconds)
        self._health.end()
        _log.info("draining", extra={"calls": len(self._policy.live)})
        await asyncio.sleep(pause_seconds)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(grace_seconds, self._policy.interrupt_all, NotReady("draining"))
        stopping = loop.create_task(self._grpc.stop(grace_seconds + _CANCEL_SECONDS))
        # First GOAWAY, then the end of waiting streams: who comes back comes to another replica.
        await asyncio.sleep(0)
        self._draining.close()
        self._health.close()
        await stopping
        timer.cancel()

    def _wrap(self, app: App) -> dict[str, interceptor.Handler]:
        return interceptor.handlers(app, self._policy, self._settings.default_deadline_seconds)


async def _built(settings: S, build: Build[S], stack: AsyncExitStack) -> App:
    """Enters the app, again and again while what it stands on cannot be reached."""
    delay_seconds = 0.25
    while True:
        try:
            return await stack.enter_async_context(build(settings))
        except DependencyUnavailable as error:
            _log.warning(
                "waiting_for_dependency",
                extra={"dependency": error.dependency, "detail": error.detail},
            )
        await asyncio.sleep(delay_seconds)
        delay_seconds = min(delay_seconds * 2, _BUILD_RETRY_SECONDS_MAX)


def service_name(settings: ServerSettings) -> str:
    """The short name of a service, known before it is built: `chorale_ingest...` -> `ingest`."""
    package = type(settings).__module__.partition(".")[0]
    return package.removeprefix("chorale_") if package.startswith("chorale_") else "service"


def _reflection(names: list[str]) -> Service:
    names = [*names, reflection.SERVICE_NAME, "grpc.health.v1.Health"]
    return Service(
        reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
        reflection.aio.ReflectionServicer(service_names=names),  # type: ignore[attr-defined]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server,
        open=True,
    )


def _announce(settings: ServerSettings, server: Server) -> None:
    if not settings.announce_file:
        return
    told = {
        "address": server.address,
        "metrics_address": server.metrics_address,
        "pid": os.getpid(),
    }
    path = Path(settings.announce_file)
    # Written aside and moved, so that a reader never finds half of it.
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(told), encoding="utf-8")
    aside.replace(path)
