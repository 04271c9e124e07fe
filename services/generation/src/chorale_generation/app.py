"""Wiring: the only place that constructs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

from chorale.generation.v1 import generation_service_pb2, generation_service_pb2_grpc
from chorale_runtime.app import App, Service
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations

from chorale_generation.servicer import ERRORS, GenerationServicer
from chorale_generation.settings import Settings
from chorale_generation.store import Store

NAME = "generation"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Opens what generation stands on, and yields the app."""
    migrations = resources.files("chorale_generation") / "migrations"
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        database = await enter(Database.open(settings.database_url, NAME, migrations))
        objects = await enter(Objects.of(settings))
        operations = await enter(
            Operations.open(
                database,
                works=[],  # none yet: an engine brings its own
                errors=ERRORS,
                domain=f"{NAME}.chorale",
                queue_limit=settings.queue_limit,
            )
        )
        yield App(
            name=NAME,
            services=[
                Service(
                    generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"],
                    GenerationServicer(Store(database)),
                    generation_service_pb2_grpc.add_GenerationServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
        )
