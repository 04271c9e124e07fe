"""Training: what the operations do, once a worker has taken them up."""

import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import training_pb2
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Job

from chorale_generation import messages as shelves
from chorale_generation import worker
from chorale_generation.cascade.codec import RATE_HZ
from chorale_generation.messages import training as messages
from chorale_generation.messages.tracks import provenance
from chorale_generation.servicer.entries import entry
from chorale_generation.servicer.fetching import ModelFiles, weights_of
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import Asked, TrainingPlanner, drawn
from chorale_generation.store.datasets import Datasets
from chorale_generation.store.model_uploads import model_key
from chorale_generation.store.models import Model, ModelFile
from chorale_generation.store.registry import Registry
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
        files: ModelFiles,
        pace: Pace,
        scratch_directory: str,
    ) -> None:
        self._planner, self._datasets, self._trainings = planner, datasets, trainings
        self._registry, self._objects, self._files = registry, objects, files
        self._pace, self._scratch = pace, scratch_directory

    async def train_codec(
        self, job: Job[training_pb2.TrainCodecRequest]
    ) -> training_pb2.TrainCodecResponse:
        """Trains a codec and registers it, once in all attempts."""
        model = await self._planner.trained(job.request.details, job.name)
        model = model or await self._codec(job)
        return training_pb2.TrainCodecResponse(
            model=shelves.model(model),
            provenance=_made_by(model),
            report=await self._report(job, model),
            reconstruction_snr_db=model.metrics["reconstruction_snr_db"],
            codebook_usage=model.metrics["codebook_usage"],
        )

    async def train_model(
        self, job: Job[training_pb2.TrainModelRequest]
    ) -> training_pb2.TrainModelResponse:
        """Trains a cascade and registers it, once in all attempts."""
        model = await self._planner.trained(job.request.details, job.name)
        model = model or await self._cascade(job)
        return training_pb2.TrainModelResponse(
            model=shelves.model(model),
            provenance=_made_by(model),
            report=await self._report(job, model),
        )

    async def _codec(self, job: Job[training_pb2.TrainCodecRequest]) -> Model:
        begun = time.monotonic()
        asked = await self._planner.codec(job.request, drawn(job.name))
        wishes = messages.codec_wishes(
            job.request, self._pace.codec_filters, self._pace.codebook_size
        )
        told = messages.codec_said(wishes)
        async with room(self._scratch) as directory:
            corpus = await self._corpus(job, asked, directory)
            teaching = CodecTeaching(corpus, asked.plan, wishes)
            trained = await self._taught(job, teaching, asked, directory)
            return await self._kept(job, asked, trained, told, begun, directory)

    async def _cascade(self, job: Job[training_pb2.TrainModelRequest]) -> Model:
        begun = time.monotonic()
        asked = await self._planner.cascade(job.request, drawn(job.name))
        assert asked.codec is not None  # a cascade has one
        told = {"codec": asked.codec.name, "stage_count": str(asked.stage_count)}
        used = [asked.codec] if asked.base is None else [asked.codec, asked.base]
        async with room(self._scratch) as directory, self._files.held(used) as (codec, *bases):
            corpus = await self._corpus(job, asked, directory)
            await job.progress("encoding", _TRAINING_FROM / 2.0)
            await job.run(worker.encode_pairs, codec, corpus, asked.plan.seed, directory)
            start = CascadeStart(codec, asked.stage_count, bases[0] if bases else None)
            teaching = CascadeTeaching(directory, asked.plan, start)
            trained = await self._taught(job, teaching, asked, directory)
            return await self._kept(job, asked, trained, told, begun, directory)

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

    async def _taught(
        self, job: Job[Any], teaching: Teaching, asked: Asked, directory: str
    ) -> _Trained:
        """Lap after lap from the last checkpoint on; the best model, on disk."""
        state = Path(directory, "state")
        resumed_count = await self._trainings.resume(job.name, state)
        every = self._checkpoint_seconds(asked)
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
    ) -> Model:
        """Registers what was trained, with all that it came from."""
        await job.progress("registering", _TRAINING_TO)
        finished = trained.finished
        async with self._objects.writer(model_key(finished.sha256)) as writer:
            with Path(directory, _FILE_NAME).open("rb") as file:  # noqa: ASYNC230 - page cache
                while data := file.read(1 << 20):
                    await writer.write(data)
        told |= messages.plan_said(asked.plan, self._checkpoint_seconds(asked)) | _from(asked)
        told |= {"ended_by": trained.ended_by, "resumed_count": str(trained.resumed_count)}
        spent = time.monotonic() - begun
        made_by = provenance(asked.details.engine, asked.engine, told, spent)
        used = [model for model in (asked.codec, asked.base) if model is not None]
        made_by.weights.extend(weights_of(model) for model in used)
        file_ = ModelFile(_FILE_NAME, finished.sha256, finished.size_bytes)
        made = replace(
            entry(asked.details, asked.engine, (file_,), _packed(made_by)),
            trained_by=job.name,
            dataset=asked.dataset.name,
            parent=asked.base.name if asked.base else "",
            metrics=finished.metrics,
        )
        return await self._registry.register(job.owner, made)

    async def _report(self, job: Job[Any], model: Model) -> training_pb2.TrainingReport:
        """Lets go of what training was stored for: nothing can be lost any more."""
        await self._trainings.drop_checkpoint(job.name)
        curve = await self._trainings.curve(job.name)
        return messages.report(curve, _made_by(model).settings, model.metrics)

    def _checkpoint_seconds(self, asked: Asked) -> float:
        return messages.checkpoint_seconds(asked.settings, self._pace.checkpoint_seconds_max)


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


def _packed(made_by: engine_pb2.Provenance) -> bytes:
    return made_by.SerializeToString(deterministic=True)


def _made_by(model: Model) -> engine_pb2.Provenance:
    return engine_pb2.Provenance.FromString(model.provenance or b"")
