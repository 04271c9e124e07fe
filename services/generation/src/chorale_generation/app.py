"""Wiring: the only place that constructs."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

from chorale.generation.v1 import (
    datasets_pb2,
    generation_service_pb2,
    generation_service_pb2_grpc,
    models_pb2,
    tracks_pb2,
    training_pb2,
)
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store as Bucket
from chorale_runtime.app import App, Service
from chorale_runtime.channels import channel
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Job, Operations, Queues, Work
from chorale_runtime.processes import CPU, Processes

from chorale_generation import worker
from chorale_generation.engines import REPLICATE
from chorale_generation.servicer import ERRORS, GenerationServicer
from chorale_generation.servicer.cascades import CascadeWorks
from chorale_generation.servicer.cascading import Cascading
from chorale_generation.servicer.fetching import ModelFiles
from chorale_generation.servicer.hearing import Hearing
from chorale_generation.servicer.importing import IMPORT, ImportWorks
from chorale_generation.servicer.mosaics import GENERATE, MosaicWorks
from chorale_generation.servicer.outside.health import Health
from chorale_generation.servicer.outside.replicate import Access, Replicate
from chorale_generation.servicer.planning import Planner
from chorale_generation.servicer.preparing import PREPARE, PrepareWorks
from chorale_generation.servicer.rephrasing import Access as ModelAccess
from chorale_generation.servicer.rephrasing import Rephraser
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import TrainingPlanner
from chorale_generation.servicer.training_calls import PROVIDER_QUEUE, School
from chorale_generation.servicer.trainings import TRAIN_CODEC, TRAIN_MODEL, Pace, TrainWorks
from chorale_generation.servicer.tuning import Manner, TuneWorks
from chorale_generation.settings import Settings
from chorale_generation.store.datasets import Datasets
from chorale_generation.store.model_uploads import ModelUploads
from chorale_generation.store.models import Store
from chorale_generation.store.pieces import Pieces
from chorale_generation.store.registry import Registry
from chorale_generation.store.shelf import Shelf
from chorale_generation.store.trainings import Trainings
from chorale_generation.store.tunings import Tunings

NAME = "generation"
CPU_QUEUE, TRAINING_QUEUE = "generation.cpu", "generation.training"
_ATTEMPTS = 100  # training loses its worker as often as machines are replaced, and goes on


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Opens what generation stands on, and yields the app."""
    migrations = resources.files("chorale_generation") / "migrations"
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        database = await enter(Database.open(settings.database_url, NAME, migrations))
        objects = await enter(Objects.of(settings))
        count = settings.processes or os.cpu_count() or 1
        devices = [] if settings.device == CPU else [settings.device]
        processes = await enter(Processes.open(count, devices=devices, warm=worker.warm))
        ingest = ingest_service_pb2_grpc.IngestServiceStub(
            await enter(channel(settings.ingest_address, settings))
        )
        hearing = Hearing(
            await enter(channel(settings.analysis_address, settings)),
            await enter(channel(settings.mastering_address, settings)),
        )
        reader = AudioReader(ingest, objects, Bucket.of(settings))
        shelf, pieces = Shelf(ingest), Pieces(database, objects)
        planner = Planner(reader, shelf)
        models, scratch = Store(database), settings.scratch_directory
        files = ModelFiles(objects, await enter(room(scratch)))
        cascading = Cascading(processes, settings.device, settings.batch_most)
        cascades = CascadeWorks(models, files, cascading, reader, hearing, pieces, shelf, scratch)
        mosaics = MosaicWorks(planner, reader, hearing, pieces, shelf, cascades, scratch)
        registry = Registry(database, models)
        uploads = ModelUploads(database, objects, settings.model_upload_bytes_max)
        imports = ImportWorks(uploads, registry, objects, scratch)
        datasets = Datasets(database, objects, Bucket.of(settings))
        trainings = Trainings(database, objects)
        training = TrainingPlanner(
            models, datasets, settings.train_minutes_max, settings.replicate_trainer
        )
        replicate = await enter(contextlib.aclosing(_replicate(settings)))
        prepares = PrepareWorks(reader, hearing, datasets)
        school = School(
            datasets, prepares, trainings, training, replicate, settings.replicate_tiers
        )
        tunes = TuneWorks(
            training,
            datasets,
            trainings,
            Tunings(database),
            registry,
            replicate,
            _manner(settings),
            scratch,
        )
        trains = TrainWorks(
            training, datasets, trainings, registry, objects, files, _pace(settings), scratch
        )

        async def purge(operation: str) -> None:
            await pieces.forget(operation)
            await trainings.forget(operation)
            await datasets.forget_unborn(operation)

        works = {
            GENERATE: Work(
                method=GENERATE,
                request=tracks_pb2.GenerateFromTracksRequest,
                response=tracks_pb2.GenerateFromTracksResponse,
                run=mosaics.generate,
                queue=CPU_QUEUE,
                timeout_seconds=settings.generate_timeout_seconds,
            ),
            IMPORT: Work(
                method=IMPORT,
                request=models_pb2.ImportModelRequest,
                response=models_pb2.ImportModelResponse,
                run=imports.import_model,
                queue=CPU_QUEUE,
                timeout_seconds=settings.import_timeout_seconds,
            ),
        } | _training_works(school, trains, tunes, settings)
        operations = await enter(
            Operations.open(
                database,
                works=list(works.values()),
                errors=ERRORS,
                domain=f"{NAME}.chorale",
                processes=processes,
                queue_limit=settings.queue_limit,
                queues=Queues.of(settings),
                purge=purge,
                slots=_slots(settings, count),
            )
        )
        await enter(_sweeping(tunes))
        servicer = GenerationServicer(
            models,
            planner,
            operations,
            works,
            pieces,
            reader,
            uploads,
            registry,
            cascades,
            school,
            Rephraser(_model_access(settings)),
        )
        yield App(
            name=NAME,
            services=[
                Service(
                    generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"],
                    servicer,
                    generation_service_pb2_grpc.add_GenerationServiceServicer_to_server,
                ),
                *operations.services(),
            ],
            errors=ERRORS,
            probes={"database": database.probe, "objects": objects.probe},
        )


def _slots(settings: Settings, process_count: int) -> dict[str, int]:
    """How many operations of each queue run at once; a device is given as many as go together."""
    together = 0 if settings.device == CPU else settings.batch_most
    return {
        TRAINING_QUEUE: 1,
        CPU_QUEUE: process_count + together,
        PROVIDER_QUEUE: settings.replicate_trainings,
    }


@asynccontextmanager
async def _sweeping(tunes: TuneWorks) -> AsyncIterator[None]:
    task = asyncio.create_task(tunes.sweep())
    try:
        yield
    finally:
        task.cancel()
        await tunes.close()


def _replicate(settings: Settings) -> Replicate:
    access = Access(
        settings.replicate_api_token,
        settings.replicate_url,
        settings.replicate_hardware,
        settings.replicate_timeout_seconds,
        60.0 * settings.replicate_timeout_seconds,
    )
    return Replicate(access, Health())


def _manner(settings: Settings) -> Manner:
    return Manner(
        settings.replicate_poll_seconds,
        settings.replicate_dataset_input,
        json.loads(settings.replicate_input),
    )


def _model_access(settings: Settings) -> ModelAccess:
    return ModelAccess(settings.openai_url, settings.openai_model, settings.openai_api_key)


def _pace(settings: Settings) -> Pace:
    return Pace(
        settings.train_lap_seconds,
        settings.train_checkpoint_seconds_max,
        settings.train_codec_filters,
        settings.train_codec_entries,
    )


def _training_works(
    school: School, trains: TrainWorks, tunes: TuneWorks, settings: Settings
) -> dict[str, Work]:
    async def train_model(
        job: Job[training_pb2.TrainModelRequest],
    ) -> training_pb2.TrainModelResponse:
        is_there = job.request.details.engine == REPLICATE.name
        return await (tunes.tune(job) if is_there else trains.train_model(job))

    works = (
        Work(
            method=PREPARE,
            request=datasets_pb2.PrepareDatasetRequest,
            response=datasets_pb2.PrepareDatasetResponse,
            run=school.prepares.prepare,
            queue=CPU_QUEUE,
            timeout_seconds=settings.import_timeout_seconds,
        ),
        Work(
            method=TRAIN_CODEC,
            request=training_pb2.TrainCodecRequest,
            response=training_pb2.TrainCodecResponse,
            run=trains.train_codec,
            queue=TRAINING_QUEUE,
            device=settings.device,
            attempts_max=_ATTEMPTS,
            timeout_seconds=_training_seconds(settings),
        ),
        Work(
            method=TRAIN_MODEL,
            request=training_pb2.TrainModelRequest,
            response=training_pb2.TrainModelResponse,
            run=train_model,
            queue=TRAINING_QUEUE,
            device=settings.device,
            attempts_max=_ATTEMPTS,
            timeout_seconds=_training_seconds(settings),
        ),
    )
    return {work.method: work for work in works}


def _training_seconds(settings: Settings) -> float:
    """Training ends by itself; what is around it, reading and registering, takes twice at most."""
    return 120.0 * settings.train_minutes_max
