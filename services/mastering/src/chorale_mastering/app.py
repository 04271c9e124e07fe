"""Wiring: the only place that constructs."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from importlib import resources

from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale.mastering.v1 import (
    loudness_pb2,
    master_pb2,
    mastering_service_pb2,
    mastering_service_pb2_grpc,
    matching_pb2,
    presets_pb2,
)
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store
from chorale_runtime.answers import Answers
from chorale_runtime.app import App, Service
from chorale_runtime.channels import channel
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations, Work
from chorale_runtime.positions import Positions
from chorale_runtime.processes import Processes

from chorale_mastering import worker
from chorale_mastering.servicer import ERRORS, MEASURE, MasteringServicer, MasteringWorks
from chorale_mastering.servicer.masters import MASTER, MasterWorks, Planner
from chorale_mastering.servicer.references import (
    ALBUM,
    CREATE_REFERENCE,
    INSPECT,
    MATCH,
    HearingWorks,
    MatchWorks,
)
from chorale_mastering.settings import Settings
from chorale_mastering.store.presets import Presets
from chorale_mastering.store.references import References
from chorale_mastering.store.rooms import Rooms
from chorale_mastering.store.shelf import Shelf
from chorale_mastering.worker.live_masters import LiveMasters

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
        live_masters = LiveMasters(settings.live_masters_max, settings.live_seconds_max)
        for threads in (live, live_masters):
            opened.enter_context(closing(threads))
        reader = AudioReader(ingest, objects, store)
        answers = Answers(database, settings.answer_keep_seconds)
        shelf, presets = Shelf(ingest), Presets(database, settings.presets_per_owner_max)
        planner = Planner(reader, shelf, presets)
        references, rooms = References(database), Rooms(settings.scratch_directory)
        works = _works(
            MasteringWorks(reader, answers),
            MasterWorks(planner, shelf, rooms),
            MatchWorks(planner, references, shelf, rooms),
            HearingWorks(reader, references, presets, shelf),
            settings,
        )
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
        servicer = MasteringServicer(
            reader,
            answers,
            operations,
            works,
            live,
            planner,
            presets,
            references,
            Positions(database),
            live_masters,
        )
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


def _works(
    measures: MasteringWorks,
    masters: MasterWorks,
    matches: MatchWorks,
    hearing: HearingWorks,
    settings: Settings,
) -> dict[str, Work]:
    """The long work of this service, by RPC."""
    measuring, mastering = settings.measure_timeout_seconds, settings.master_timeout_seconds
    rows = (
        (MEASURE, loudness_pb2, "MeasureLoudness", measures.measure_loudness, measuring),
        (INSPECT, master_pb2, "Inspect", hearing.inspect, measuring),
        (CREATE_REFERENCE, presets_pb2, "CreateReference", hearing.create_reference, measuring),
        (MASTER, master_pb2, "Master", masters.master, mastering),
        (MATCH, matching_pb2, "MatchReference", matches.match, mastering),
        (ALBUM, master_pb2, "MasterAlbum", matches.album, mastering),
    )
    return {
        method: Work(
            method=method,
            request=getattr(file, f"{name}Request"),
            response=getattr(file, f"{name}Response"),
            run=run,
            queue="mastering.cpu",
            timeout_seconds=seconds,
        )
        for method, file, name, run, seconds in rows
    }
