"""Several processes of each service behind one list of addresses, replaced one by one."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chorale_client import AsyncChorale
from chorale_mesh import storage
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.plan import Options, ServicePlan, plan_services, settings_for
from chorale_mesh.ports import free_port
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_mesh.secrets import keep_secret
from chorale_mesh.service import ServicePart, Surroundings

# Far more than a drain may take: a process that has to be killed is a finding.
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Replicas:
    """A mesh in which every service stands several times."""

    parts: Mapping[str, Sequence[ServicePart]]

    @property
    def addresses(self) -> dict[str, str]:
        """Where each service answers: a list that a client goes round."""
        return {
            name: ",".join(part.address for part in replicas)
            for name, replicas in self.parts.items()
        }

    def client(self) -> AsyncChorale:
        """A client that goes round them."""
        return AsyncChorale(addresses=self.addresses)

    async def replace(self, part: ServicePart) -> int:
        """Drains one process and starts the next at its address; the old one's exit status."""
        assert part.child is not None
        status = await asyncio.to_thread(part.child.stop, STOP_SECONDS)
        await part.start()
        return status

    async def replace_all(self, settle_seconds: float = 0.0) -> list[tuple[str, int]]:
        """Replaces every process of every service, one after the other; how each old one ended."""
        statuses = []
        for part in [part for replicas in self.parts.values() for part in replicas]:
            statuses.append((part.name, await self.replace(part)))
            await asyncio.sleep(settle_seconds)
        return statuses


@asynccontextmanager
async def replicated(
    state: Path, services: Sequence[str], count: int = 2, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Replicas]:
    """Runs `count` processes of each service over one database and one bucket."""
    options = Options(state, services, free_ports=True, settings=settings or {})
    rows = [[plan, *_twins(plan, count - 1)] for plan in plan_services(options)]
    with EmbeddedPostgres(state / "postgres") as postgres, EmbeddedObjects(state / "s3") as server:
        objects = storage.described(server, "")
        storage.require_bucket(objects)
        secrets = state / "secrets"
        given = Surroundings(
            state=state,
            cache=options.cache,
            database_url_file=keep_secret(secrets / "database-url", postgres.url),
            objects=objects,
            objects_access_key_file=keep_secret(secrets / "access-key", objects.access_key),
            objects_secret_key_file=keep_secret(secrets / "secret-key", objects.secret_key),
            addresses={
                row[0].name: f"ipv4:{','.join(plan.address for plan in row)}" for row in rows
            },
        )
        parts = {
            row[0].name: [
                ServicePart(
                    plan,
                    dataclasses.replace(given, state=state / f"replica-{number}"),
                    settings_for(plan, options),
                )
                for number, plan in enumerate(row)
            ]
            for row in rows
        }
        everybody = [part for replicas in parts.values() for part in replicas]
        try:
            await asyncio.gather(*(part.start() for part in everybody))
            yield Replicas(parts)
        finally:
            await asyncio.gather(*(part.stop() for part in everybody), return_exceptions=True)


def _twins(plan: ServicePlan, count: int) -> list[ServicePlan]:
    return [
        dataclasses.replace(plan, port=free_port(), metrics_port=free_port()) for _ in range(count)
    ]
