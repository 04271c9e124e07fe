"""Training: what the operations do, once a worker has taken them up."""

import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import models_pb2, training_pb2
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Job

from chorale_generation import messages as shelves
from chorale_generation import worker
from chorale_generation.cascade.asked import ModelPath
from chorale_generation.cascade.codec import RATE_HZ
from chorale_generation.messages import training as messages
from chorale_generation.messages.tracks import provenance
from chorale_generation.servicer.fetching import fetched, weights_of
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import Asked, TrainingPlanner, drawn
from chorale_generation.store.datasets import Datasets
from chorale_generation.store.model_uploads import model_key
from chorale_generation.store.models import PREFIX, Model, ModelFile
from chorale_generation.store.registry import Entry, Registry
from chorale_generation.store.trainings import Trainings
from chorale_generation.training.asked import (
    CascadeStart,
    CascadeTeaching,
    CodecTeaching,
    Corpus,
    Finished,
    Point,
    Teaching,
)

TRAIN_MODEL = "chorale.generation.v1.GenerationService/TrainModel"
TRAIN_CODEC = "chorale.generation.v1.GenerationService/TrainCodec"

_FILE_NAME = "model.safetensors"
_TRAINING_FROM, _TRAINING_TO = 0.1, 0.95


@dataclass(frozen=True)
class Pace:
    """How training is cut into laps, and what a codec of this build is like."""

    lap_seconds: float
    checkpoint_seconds_max: float
    codec_filters: int
    codebook_size: int


@dataclass(frozen=True)
class _Trained:
    """What came of the laps."""

    finished: Finished
    ended_by: str
    resumed_count: int


class TrainWorks:
    """What the operations do."""

    def __init__(
        self,
        planner: TrainingPlanner,
        datasets: Datasets,
        trainings: Trainings,
        registry: Registry,
        objects: Objects,
        pace: Pace,
        scratch_directory: str,
    ) -> None:
        self._planner, self._datasets, self._trainings = planner, datasets, trainings
        self._registry, self._objects = registry, objects
        self._pace, self._scratch = pace, scratch_directory

    async def train_codec(
        self, job: Job[training_pb2.TrainCodecRequest]
    ) -> training_pb2.TrainCodecResponse:
        """Trains a codec and registers it."""
        begun = time.monotonic()
        asked = await self._planner.codec(job.request, drawn(job.name))
        wishes = messages.codec_wishes(
            job.request, self._pace.codec_filters, self._pace.codebook_size
        )
        told = messages.codec_said(wishes)
        async with room(self._scratch) as directory:
            corpus = await self._corpus(job, asked, directory)
            trained = await self._taught(
                job, CodecTeaching(corpus, asked.plan, wishes), asked, directory
            )
            model, made_by = await self._kept(job, asked, trained, told, begun, directory)
        figures = trained.finished.metrics
        return training_pb2.TrainCodecResponse(
            model=shelves.model(model),
            provenance=made_by,
            report=await self._report(job, asked, trained),
            reconstruction_snr_db=figures["reconstruction_snr_db"],
            codebook_usage=figures["codebook_usage"],
        )

    async def train_model(
        self, job: Job[training_pb2.TrainModelRequest]
    ) -> training_pb2.TrainModelResponse:
        """Trains a cascade and registers it."""
        begun = time.monotonic()
        asked = await self._planner.cascade(job.request, drawn(job.name))
        assert asked.codec is not None  # a cascade has one
        told = {"codec": asked.codec.name, "stage_count": str(asked.stage_count)}
        async with room(self._scratch) as directory:
            corpus = await self._corpus(job, asked, directory)
            codec = await self._file(asked.codec, directory, "codec")
            base = await self._file(asked.base, directory, "base") if asked.base else None
            await job.progress("encoding", _TRAINING_FROM / 2.0)
            await job.run(worker.encode_pairs, codec, corpus, asked.plan.seed, directory)
            start = CascadeStart(codec, asked.stage_count, base)
            teaching = CascadeTeaching(directory, asked.plan, start)
            trained = await self._taught(job, teaching, asked, directory)
            model, made_by = await self._kept(job, asked, trained, told, begun, directory)
        return training_pb2.TrainModelResponse(
            model=shelves.model(model),
            provenance=made_by,
            report=await self._report(job, asked, trained),
        )

    async def _corpus(self, job: Job[Any], asked: Asked, directory: str) -> Corpus:
        """The sound of a dataset on disk."""
        await job.progress("reading", 0.0)
        paths = [str(Path(directory, name)) for name in ("learning", "validation")]
        for held_back, path in zip((False, True), paths, strict=True):
            sources = [
                self._datasets.source(asked.dataset, item)
                for item in asked.dataset.items
                if item.is_validation == held_back
            ]
            await job.run(worker.gather, sources, RATE_HZ, path)
        return Corpus(*paths)

    async def _file(self, model: Model, directory: str, name: str) -> ModelPath:
        return await fetched(self._objects, model, Path(directory, name))

    async def _taught(
        self, job: Job[Any], teaching: Teaching, asked: Asked, directory: str
    ) -> _Trained:
        """Lap after lap from the last checkpoint on; the best model, on disk."""
        state, minutes = Path(directory, "state"), asked.settings.checkpoint_minutes
        resumed_count = await self._trainings.resume(job.name, state)
        every = 60.0 * (minutes or messages.CHECKPOINT_MINUTES)
        every = min(every, self._pace.checkpoint_seconds_max)
        stored_at = time.monotonic()
        while True:
            lap = await job.run(worker.lap, teaching, str(state), self._pace.lap_seconds)
            is_due = not lap.ended_by and time.monotonic() - stored_at >= every
            if is_due:
                await self._trainings.checkpoint(job.name, lap.step, state)
                stored_at = time.monotonic()
            said = _said(lap.points[-1])
            await self._trainings.tell(job.name, lap.points, is_due, said)
            share = lap.step / lap.step_count
            await job.progress(
                "training", _TRAINING_FROM + (_TRAINING_TO - _TRAINING_FROM) * share, said
            )
            if lap.ended_by:
                break
        path = str(Path(directory, _FILE_NAME))
        finished = await job.run(
            worker.finish_training, teaching, str(state), path, asked.details.model
        )
        return _Trained(finished, lap.ended_by, resumed_count)

    async def _kept(
        self,
        job: Job[Any],
        asked: Asked,
        trained: _Trained,
        told: dict[str, str],
        begun: float,
        directory: str,
    ) -> tuple[Model, engine_pb2.Provenance]:
        """Registers what was trained, with all that it came from."""
        await job.progress("registering", _TRAINING_TO)
        finished = trained.finished
        async with self._objects.writer(model_key(finished.sha256)) as writer:
            with Path(directory, _FILE_NAME).open("rb") as file:  # noqa: ASYNC230 - page cache
                while data := file.read(1 << 20):
                    await writer.write(data)
        made_by = provenance(
            asked.details.engine,
            asked.engine,
            told | messages.plan_said(asked.plan, asked.settings) | _from(asked),
            time.monotonic() - begun,
        )
        used = [model for model in (asked.codec, asked.base) if model is not None]
        made_by.weights.extend(weights_of(model) for model in used)
        model = await self._registry.register(job.owner, _entry(job.name, asked, finished, made_by))
        await self._trainings.drop_checkpoint(job.name)
        return model, made_by

    async def _report(
        self, job: Job[Any], asked: Asked, trained: _Trained
    ) -> training_pb2.TrainingReport:
        curve = await self._trainings.curve(job.name)
        figures = trained.finished.metrics
        return messages.report(curve, trained.ended_by, asked.plan, figures, trained.resumed_count)


def _said(point: Point) -> str:
    kept_back = point.validation_loss
    validated = f", {kept_back:.4g} on what was kept back" if kept_back else ""
    return f"Step {point.step}: loss {point.training_loss:.4g}{validated}."


def _from(asked: Asked) -> dict[str, str]:
    return {
        "dataset": asked.dataset.name,
        "dataset.sha256": asked.dataset.sha256,
        "code_version": metadata.version("chorale-generation"),
        "licence": asked.details.licence,
        "source": asked.details.source,
    }


def _entry(
    operation: str, asked: Asked, finished: Finished, made_by: engine_pb2.Provenance
) -> Entry:
    details: models_pb2.ModelDetails = asked.details
    return Entry(
        model=details.model.removeprefix(PREFIX),
        version=details.version,
        title=details.title,
        description=details.description,
        engine=asked.engine.name,
        capability=details.capability or asked.engine.capability,
        files=(ModelFile(_FILE_NAME, finished.sha256, finished.size_bytes),),
        licence=details.licence,
        commercial_use=bool(details.licence) and "-NC" not in details.licence,
        instrument=details.instrument,
        style=details.style,
        provenance=made_by.SerializeToString(deterministic=True),
        trained_by=operation,
        dataset=asked.dataset.name,
        parent=asked.base.name if asked.base else "",
        metrics=finished.metrics,
    )
