"""Starts the mesh, keeps it running, stops it in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from chorale_mesh import storage
from chorale_mesh.edge import EdgePart, plan_edge
from chorale_mesh.errors import MeshError
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.parts import EmbeddedPart, Part, end_leftovers, how_it_ended
from chorale_mesh.plan import ObjectStorage, Options, plan_services, settings_for
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_mesh.secrets import keep_secret
from chorale_mesh.service import ServicePart, Surroundings
from chorale_mesh.state import StateDirectory

_POLL_SECONDS = 0.1
_FIRST_BACK_OFF_SECONDS, _LAST_BACK_OFF_SECONDS = 0.5, 30.0
# Whoever lived this long is not the victim of a loop of crashes.
_STEADY_SECONDS = 60.0

Tell = Callable[[str], None]


class Supervisor:
    """The mesh of one state directory, running for as long as the context lasts."""

    def __init__(self, options: Options, tell: Tell) -> None:
        self._options = options
        self._tell = tell
        self._held = StateDirectory(options.state)
        self._keepers: list[asyncio.Task[None]] = []
        self._foundation: list[Part] = []
        self.objects: ObjectStorage | None = None
        self.services: list[ServicePart] = []
        self.edge: EdgePart | None = None

    @property
    def is_up(self) -> bool:
        """Whether everything was started."""
        return bool(self._keepers)

    @property
    def parts(self) -> Sequence[Part]:
        """Everything that runs, in the order in which it was started."""
        return [*self._foundation, *self.services, *([self.edge] if self.edge else [])]

    async def __aenter__(self) -> Self:
        self._held.__enter__()
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    def abandon(self) -> None:
        """Ends every process at once; for the person who asks twice."""
        for part in self.parts:
            part.abandon()

    async def _start(self) -> None:
        for leftover in end_leftovers(self._options.state):
            self._tell(f"ended what an earlier mesh had left running: {leftover}")
        plans = plan_services(self._options)
        edge_plan = plan_edge(self._options, plans) if self._options.edge else None
        database_url = await self._start_foundation()
        assert self.objects is not None
        surroundings = self._surroundings(database_url, {p.name: p.address for p in plans})
        self.services = [
            ServicePart(plan, surroundings, settings_for(plan, self._options)) for plan in plans
        ]
        self._tell(f"starting {', '.join(plan.name for plan in plans)}")
        await self._start_together(self.services)
        if edge_plan is not None:
            self.edge = EdgePart(edge_plan, self._options.state)
            self._tell("starting the edge")
            await self.edge.start()
        self._tell_world()
        self._keepers = [asyncio.create_task(self._keep(part)) for part in self.parts]
        for keeper in self._keepers:
            keeper.add_done_callback(self._mourn)

    async def _start_foundation(self) -> str:
        """Starts, or checks, the database and the object storage; answers the database's URL."""
        state, options = self._options.state, self._options
        postgres = objects = None
        if not options.database_url:
            postgres = EmbeddedPostgres(state / "postgres")
            self._foundation.append(EmbeddedPart("PostgreSQL", postgres))
        if not options.objects_url:
            objects = EmbeddedObjects(state / "objects")
            self._foundation.append(EmbeddedPart("S3", objects))
        if self._foundation:
            self._tell(f"starting {' and '.join(part.name for part in self._foundation)}")
        await self._start_together(self._foundation)
        self.objects = storage.described(objects, options.objects_url)
        await asyncio.to_thread(storage.require_bucket, self.objects)
        database_url = postgres.url if postgres else options.database_url
        await asyncio.to_thread(storage.require_database, database_url)
        return database_url

    async def _start_together(self, parts: Sequence[Part]) -> None:
        """Starts parts side by side; the first failure is the one that is told."""
        starts = [asyncio.create_task(part.start()) for part in parts]
        try:
            for start in asyncio.as_completed(starts):
                await start
        finally:
            for task in starts:
                task.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    def _surroundings(self, database_url: str, addresses: dict[str, str]) -> Surroundings:
        assert self.objects is not None
        secrets = self._options.state / "secrets"
        return Surroundings(
            state=self._options.state,
            cache=self._options.cache,
            database_url_file=keep_secret(secrets / "database-url", database_url),
            objects=self.objects,
            objects_access_key_file=keep_secret(secrets / "access-key", self.objects.access_key),
            objects_secret_key_file=keep_secret(secrets / "secret-key", self.objects.secret_key),
            addresses=addresses,
        )

    async def _keep(self, part: Part) -> None:
        """Starts a part again whenever it has ended, ever more patiently if it keeps ending."""
        back_off = _FIRST_BACK_OFF_SECONDS
        while True:
            begun = time.monotonic()
            status = await _end_of(part)
            if time.monotonic() - begun > _STEADY_SECONDS:
                back_off = _FIRST_BACK_OFF_SECONDS
            self._tell(
                f"{part.name} {how_it_ended(status)}; starting it again in {back_off:.1f} s. "
                f"Its log: {part.log}"
            )
            back_off = await self._start_again(part, back_off)
            self._tell(f"{part.name} is back at {part.address}")
            self._tell_world()

    def _mourn(self, keeper: asyncio.Task[None]) -> None:
        """A keeper never ends by itself; one that did must not do so unheard."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._tell(f"a part is no longer watched: {error!r}. Stop the mesh and start it again.")

    async def _start_again(self, part: Part, back_off: float) -> float:
        """Tries until it runs; answers how long to wait when it ends again soon."""
        while True:
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, _LAST_BACK_OFF_SECONDS)
            try:
                await part.start()
            except (MeshError, OSError) as error:
                self._tell(f"{error}\n{part.name}: trying again in {back_off:.1f} s")
            else:
                return back_off

    async def _stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers = []
        for group in ([self.edge] if self.edge else [], self.services, self._foundation):
            running = [part for part in group if part.child is not None]
            if running:
                self._tell(f"stopping {', '.join(part.name for part in reversed(running))}")
            await asyncio.gather(*(part.stop() for part in group), return_exceptions=True)
        _remove_secrets(self._options.state)
        self._held.__exit__(None, None, None)

    def _tell_world(self) -> None:
        """Writes mesh.json."""
        assert self.objects is not None
        self._held.tell(
            {
                "pid": os.getpid(),
                "services": {
                    part.name: {
                        "address": part.address,
                        "metrics": part.metrics_address,
                        "pid": _pid(part),
                    }
                    for part in self.services
                },
                "objects": {"endpoint": self.objects.endpoint},
                "edge": {"address": self.edge.address} if self.edge else None,
                "parts": {
                    part.name: {"address": part.address, "pid": _pid(part), "log": str(part.log)}
                    for part in self.parts
                },
            }
        )


async def _end_of(part: Part) -> int:
    while True:
        status = part.child.exit_status() if part.child else None
        if status is not None:
            return status
        await asyncio.sleep(_POLL_SECONDS)


def _pid(part: Part) -> int | None:
    return part.child.pid if part.child else None


def _remove_secrets(state: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(state / "secrets")
