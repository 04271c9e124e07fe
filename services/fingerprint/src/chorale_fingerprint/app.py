"""Wiring: the only place that constructs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

from chorale.fingerprint.v1 import (
    fingerprint_service_pb2,
    fingerprint_service_pb2_grpc,
    listening_pb2,
    recordings_pb2,
)
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store as AudioStore
from chorale_runtime.app import App, Service
from chorale_runtime.channels import channel
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations, Work
from chorale_runtime.processes import Processes

from chorale_fingerprint import engines, servicer, worker
from chorale_fingerprint.codes import library_version
from chorale_fingerprint.servicer.patterns import PatternRules
from chorale_fingerprint.servicer.searching import Searcher
from chorale_fingerprint.servicer.works import FingerprintWorks
from chorale_fingerprint.settings import Settings
from chorale_fingerprint.store.patterns import PatternStore
from chorale_fingerprint.store.recordings import Store
from chorale_fingerprint.store.similar import SimilarPatterns

NAME = "fingerprint"
QUEUE = "fingerprint.cpu"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Opens what fingerprint stands on, and yields the app."""
    migrations = resources.files("chorale_fingerprint") / "migrations"
    sound = AudioStore.of(settings)
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        database = await enter(Database.open(settings.database_url, NAME, migrations))
        objects = await enter(Objects.of(settings))
        processes = await enter(Processes.open(settings.processes, worker.PRELOAD))
        ingest = ingest_service_pb2_grpc.IngestServiceStub(
            await enter(channel(settings.ingest_address, settings))
        )
        reader, store = AudioReader(ingest, objects, sound), Store(database)
        known = engines.engines(library_version())
        searcher = Searcher(store, settings.probes_max)
        works = _works(
            FingerprintWorks(reader, ingest, store, searcher, known, settings.duplicate_policy),
            settings,
        )
        operations = await enter(
            Operations.open(
                database,
                works=list(works.values()),
                errors=servicer.ERRORS,
                domain=f"{NAME}.chorale",
                processes=processes,
                queue_limit=settings.queue_limit,
            )
        )
        yield App(
            name=NAME,
            services=[
                Service(
                    fingerprint_service_pb2.DESCRIPTOR.services_by_name["FingerprintService"],
                    servicer.FingerprintServicer(
                        reader,
                        store,
                        known,
                        operations,
                        works,
                        PatternStore(database),
                        SimilarPatterns(database),
                        PatternRules(settings.duplicate_policy, settings.sections_per_song_max),
                    ),
                    fingerprint_service_pb2_grpc.add_FingerprintServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=servicer.ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
        )


def _works(works: FingerprintWorks, settings: Settings) -> dict[str, Work]:
    """The long work of this service, by RPC."""
    made = (
        Work(
            method=servicer.ENROLL,
            request=recordings_pb2.EnrollRequest,
            response=recordings_pb2.EnrollResponse,
            run=works.enroll,
            queue=QUEUE,
            timeout_seconds=settings.timeout_seconds,
        ),
        Work(
            method=servicer.IDENTIFY,
            request=recordings_pb2.IdentifyRequest,
            response=recordings_pb2.IdentifyResponse,
            run=works.identify,
            queue=QUEUE,
            timeout_seconds=settings.timeout_seconds,
        ),
        Work(
            method=servicer.COMPUTE_CHROMAPRINT,
            request=listening_pb2.ComputeChromaprintRequest,
            response=listening_pb2.ComputeChromaprintResponse,
            run=works.compute_chromaprint,
            queue=QUEUE,
            timeout_seconds=settings.timeout_seconds,
        ),
    )
    return {work.method: work for work in made}
