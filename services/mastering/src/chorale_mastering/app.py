"""Wiring: the only place that constructs."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from importlib import resources

from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2, mastering_service_pb2_grpc
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store
from chorale_runtime.answers import Answers
from chorale_runtime.app import App, Service
from chorale_runtime.channels import channel
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations, Work
from chorale_runtime.processes import Processes

from chorale_mastering import worker
from chorale_mastering.servicer import ERRORS, MEASURE, MasteringServicer, MasteringWorks
from chorale_mastering.settings import Settings

NAME = "mastering"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Opens what mastering stands on, and yields the app."""
    migrations = resources.files("chorale_mastering") / "migrations"
    store = Store.of(settings)
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        database = await enter(Database.open(settings.database_url, NAME, migrations))
        objects = await enter(Objects.of(settings))
        count = settings.processes or os.cpu_count() or 1
        processes = await enter(Processes.open(count, warm=worker.warm))
        ingest = ingest_service_pb2_grpc.IngestServiceStub(
            await enter(channel(settings.ingest_address, settings))
        )
        live = worker.LiveMeters(settings.live_meters_max, settings.live_seconds_max)
        opened.enter_context(closing(live))
        reader = AudioReader(ingest, objects, store)
        answers = Answers(database, settings.answer_keep_seconds)
        works = _works(MasteringWorks(reader, answers), settings)
        operations = await enter(
            Operations.open(
                database,
                works=list(works.values()),
                errors=ERRORS,
                domain=f"{NAME}.chorale",
                processes=processes,
                queue_limit=settings.queue_limit,
            )
        )
        servicer = MasteringServicer(reader, answers, operations, works, live)
        yield App(
            name=NAME,
            services=[
                Service(
                    mastering_service_pb2.DESCRIPTOR.services_by_name["MasteringService"],
                    servicer,
                    mastering_service_pb2_grpc.add_MasteringServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
        )


def _works(works: MasteringWorks, settings: Settings) -> dict[str, Work]:
    """The long work of this service, by RPC."""
    measure = Work(
        method=MEASURE,
        request=loudness_pb2.MeasureLoudnessRequest,
        response=loudness_pb2.MeasureLoudnessResponse,
        run=works.measure_loudness,
        queue="mastering.cpu",
        timeout_seconds=settings.measure_timeout_seconds,
    )
    return {work.method: work for work in (measure,)}
