"""Wiring: the only place that constructs."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

from chorale.analysis.v1 import analysis_service_pb2, analysis_service_pb2_grpc
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store
from chorale_runtime.answers import Answers
from chorale_runtime.app import App, Service
from chorale_runtime.channels import channel
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations, Queues
from chorale_runtime.processes import Processes

from chorale_analysis import worker
from chorale_analysis.servicer import ERRORS, AnalysisServicer, AnalysisWorks, Listening
from chorale_analysis.servicer.live_rooms import LiveRooms
from chorale_analysis.servicer.locate_calls import Locating
from chorale_analysis.servicer.lyrics_calls import LyricsDesk
from chorale_analysis.settings import Settings

NAME = "analysis"
QUEUE = "analysis.cpu"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Opens what analysis stands on, and yields the app."""
    migrations = resources.files("chorale_analysis") / "migrations"
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
        reader = AudioReader(ingest, objects, store)
        answers = Answers(database, settings.answer_keep_seconds)
        listening = Listening(
            reader, answers, settings.listen_seconds_max, settings.weights_directory
        )
        locating = Locating(listening, ingest)
        works = AnalysisWorks(listening, locating).all(QUEUE, settings.work_timeout_seconds)
        operations = await enter(
            Operations.open(
                database,
                works=list(works.values()),
                errors=ERRORS,
                domain=f"{NAME}.chorale",
                processes=processes,
                queue_limit=settings.queue_limit,
                queues=Queues.of(settings),
            )
        )
        live = await enter(
            LiveRooms.of(
                settings.live_processes or os.cpu_count() or 1,
                settings.live_streams_max,
                settings.live_seconds_max,
            )
        )
        servicer = AnalysisServicer(
            listening, operations, works, live, processes, LyricsDesk(settings), locating
        )
        yield App(
            name=NAME,
            services=[
                Service(
                    analysis_service_pb2.DESCRIPTOR.services_by_name["AnalysisService"],
                    servicer,
                    analysis_service_pb2_grpc.add_AnalysisServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
        )
