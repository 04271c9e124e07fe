"""Wiring: the only place that constructs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from chorale.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from chorale_runtime.app import App, Service
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Operations
from chorale_runtime.positions import Positions

from chorale_ingest import tiers
from chorale_ingest.engines import engines
from chorale_ingest.servicer import ERRORS, IngestServicer
from chorale_ingest.servicer.making import Makers
from chorale_ingest.settings import Settings
from chorale_ingest.store.casting import Caster
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.covering import Coverer
from chorale_ingest.store.cutting import Cutter
from chorale_ingest.store.downloads import Downloads
from chorale_ingest.store.exporting import Exporter
from chorale_ingest.store.finishing import Finisher
from chorale_ingest.store.importing import Importer
from chorale_ingest.store.measuring import Measurer
from chorale_ingest.store.previews import Previews
from chorale_ingest.store.reading import Reader
from chorale_ingest.store.receiving import Receiver
from chorale_ingest.store.registering import Registrar
from chorale_ingest.store.removing import Remover
from chorale_ingest.store.staging import Staging
from chorale_ingest.store.sweeping import Sweeper
from chorale_ingest.store.uploads import Uploads
from chorale_ingest.worker.decoders import Decoders
from chorale_ingest.worker.encoders import Encoders
from chorale_ingest.worker.works import EXPORT_QUEUE, export_work

DESCRIPTOR = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]
# A whole file may have to be digested and decoded within this call.
FINISH_SECONDS = 900.0
MEASURE_SECONDS = 1.0  # how often it looks for what was not measured
SLOW = ("FinishUpload", "ImportObject", "SignUrl")


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Open what ingest stands on, and make the app of it."""
    allowed = tiers.parse(_tiers_text(settings))
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(settings))
        objects = await stack.enter_async_context(Objects.of(settings))
        decoders = await stack.enter_async_context(_decoders(settings))
        catalogue = Catalogue(database, objects, settings.audio_lifetime_seconds)
        uploads = Uploads(database, objects, settings.upload_lifetime_seconds)
        staging = Staging(objects, uploads, settings.part_bytes, settings.buffer_bytes)
        stack.push_async_callback(staging.settle)
        coverer = Coverer(objects, _encoders(settings, decoders, settings.decode_count))
        finisher = Finisher(objects, uploads, staging, catalogue, decoders, coverer)
        reader = Reader(objects)
        receiver = Receiver(uploads, staging, catalogue, finisher)
        caster = Caster(reader, _encoders(settings, decoders, settings.decode_count))
        exporter = Exporter(database, objects, caster)
        remover = Remover(database, objects, exporter)
        downloads = Downloads(objects, reader, caster, exporter, settings.url_lifetime_seconds)
        export = export_work(catalogue, downloads)
        operations = await stack.enter_async_context(
            Operations.open(
                database,
                [export],
                ERRORS,
                "ingest.chorale",
                queue_limit=settings.decode_waiting_max,
                slots={EXPORT_QUEUE: settings.decode_count},
            )
        )
        servicer = IngestServicer(
            allowed,
            catalogue,
            remover,
            uploads,
            receiver,
            reader,
            downloads,
            Registrar(objects, catalogue),
            Makers(
                Cutter(objects, catalogue),
                Previews(reader, caster),
                Importer(objects, uploads, receiver, settings.import_prefix),
                operations,
                export,
            ),
            Positions(database),
            engines(
                metadata.version("av"),
                metadata.version("soxr"),
                metadata.version("chorale-ingest"),
            ),
        )
        sweeper = Sweeper(remover, uploads, exporter, objects)
        await stack.enter_async_context(_beside(sweeper.run(settings.sweep_seconds)))
        measurer = Measurer(database, objects, _encoders(settings, decoders, count=1))
        await stack.enter_async_context(_beside(measurer.run(MEASURE_SECONDS)))
        yield App(
            name="ingest",
            services=[
                Service(
                    DESCRIPTOR,
                    servicer,
                    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
            deadlines={f"{DESCRIPTOR.full_name}/{rpc}": FINISH_SECONDS for rpc in SLOW},
        )


def _database(settings: Settings) -> AbstractAsyncContextManager[Database]:
    return Database.open(
        settings.database_url,
        schema="ingest",
        migrations=resources.files("chorale_ingest") / "migrations",
    )


def _decoders(settings: Settings) -> AbstractAsyncContextManager[Decoders]:
    return Decoders.open(
        count=settings.decode_count,
        waiting_max=settings.decode_waiting_max,
        cpu_seconds=settings.decode_cpu_seconds,
        memory_bytes=settings.decode_memory_bytes,
        idle_seconds=settings.decode_idle_seconds,
    )


def _encoders(settings: Settings, decoders: Decoders, count: int) -> Encoders:
    return Encoders(
        decoders.births,
        count=count,
        waiting_max=settings.decode_waiting_max,
        memory_bytes=settings.decode_memory_bytes,
        idle_seconds=settings.decode_idle_seconds,
    )


def _tiers_text(settings: Settings) -> str:
    if settings.tiers_file:
        return Path(settings.tiers_file).read_text(encoding="utf-8")
    return (resources.files("chorale_ingest") / "tiers.json").read_text(encoding="utf-8")


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
