"""One of the five services as a process: `python -m chorale_<name>` with a clean environment."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from chorale_client.services import full_name
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chorale_mesh.children import Child, Program, last_lines
from chorale_mesh.errors import PartFailedError
from chorale_mesh.parts import how_it_ended
from chorale_mesh.plan import ObjectStorage, ServicePlan
from chorale_mesh.ports import LOOPBACK

# Generous: the first start of a service may compile numeric code on a loaded machine.
READY_SECONDS = 180.0
STOP_SECONDS = 12.0
# Long enough for calls in flight to end, short enough for a person who pressed Ctrl-C.
_DRAIN_SECONDS = 5
_POLL_SECONDS = 0.05
# What a program needs of the person's own environment, and nothing more.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Surroundings:
    """What every service of one mesh is given."""

    state: Path
    cache: Path
    database_url_file: Path
    objects: ObjectStorage
    objects_secret_key_file: Path
    objects_access_key_file: Path
    addresses: Mapping[str, str]
    """Where each service of this mesh answers."""


class ServicePart:
    """A service, started again at the same address whenever it has ended."""

    def __init__(
        self, plan: ServicePlan, surroundings: Surroundings, settings: Mapping[str, str]
    ) -> None:
        self.name = plan.name
        self.plan = plan
        self.child: Child | None = None
        self._state = surroundings.state / "services"
        self._program = Program(
            name=plan.name,
            arguments=[sys.executable, "-P", "-m", f"chorale_{plan.name}"],
            environment=_environment(plan, surroundings, self._announce_file, settings),
            directory=self._state,
        )

    @property
    def address(self) -> str:
        """Where it answers gRPC."""
        return self.plan.address

    @property
    def metrics_address(self) -> str:
        """Where it answers Prometheus."""
        return f"{LOOPBACK}:{self.plan.metrics_port}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self._state / f"{self.name}.log"

    async def start(self) -> None:
        """Starts it; returns when its health says SERVING."""
        self.abandon()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._announce_file.unlink(missing_ok=True)
        child = self.child = Child(self._program, self._state)
        deadline = time.monotonic() + READY_SECONDS
        while not (self._is_bound(child) and await self.is_serving()):
            status = child.exit_status()
            if status is not None:
                raise self._failed(f"{how_it_ended(status)} before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready after {READY_SECONDS:.0f} seconds")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Lets calls in flight end, then ends it."""
        if self.child is not None:
            await asyncio.to_thread(self.child.stop, STOP_SECONDS)
            self.child = None

    def abandon(self) -> None:
        """Ends it at once."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    async def is_serving(self) -> bool:
        """Whether the service itself says that calls should come."""
        return await is_serving(self.address, full_name(self.name))

    def _is_bound(self, child: Child) -> bool:
        """Whether *this* process has bound its port: what it announces carries its number."""
        try:
            return bool(json.loads(self._announce_file.read_text())["pid"] == child.pid)
        except (FileNotFoundError, ValueError, KeyError):
            return False

    def _failed(self, found: str) -> PartFailedError:
        return PartFailedError(self.name, found, self.log, last_lines(self.log))

    @property
    def _announce_file(self) -> Path:
        return self._state / f"{self.name}.announced.json"


async def is_serving(address: str, service: str, timeout_seconds: float = 5.0) -> bool:
    """Whether a gRPC server says of itself that it serves."""
    # No proxy that the environment names knows the way to this machine's loopback.
    direct = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel(address, options=direct) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _environment(
    plan: ServicePlan, given: Surroundings, announce_file: Path, settings: Mapping[str, str]
) -> dict[str, str]:
    rows = {
        "address": plan.address,
        "metrics_address": f"{LOOPBACK}:{plan.metrics_port}",
        "announce_file": str(announce_file),
        "objects_endpoint": given.objects.endpoint,
        "objects_bucket": given.objects.bucket,
        "objects_secure": str(given.objects.secure).lower(),
        "objects_directory": given.objects.directory,
        "drain_seconds": str(_DRAIN_SECONDS),
    }
    # Those it may call; whom it never calls it has no row for.
    rows |= {f"{name}_address": address for name, address in given.addresses.items()}
    rows = {name: text for name, text in rows.items() if name in plan.rows} | dict(settings)
    secrets = {
        "database_url": given.database_url_file,
        "objects_access_key": given.objects_access_key_file,
        "objects_secret_key": given.objects_secret_key_file,
    }
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **{f"CHORALE_{name.upper()}": text for name, text in rows.items()},
        **{f"CHORALE_{name.upper()}_FILE": str(path) for name, path in secrets.items()},
        "PYTHONUNBUFFERED": "1",
        # Compiled numeric code is kept, so that only the first start ever waits for it.
        "NUMBA_CACHE_DIR": str(given.cache / "numba"),
        # Threads that spin while they wait eat the cores that the other services need.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
