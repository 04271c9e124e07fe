"""What a request to train asks for, and what it would take."""

import uuid
from dataclasses import dataclass

from chorale.audio.v1 import audio_pb2
from chorale.generation.v1 import models_pb2, training_pb2
from chorale_runtime import caller

from chorale_generation import engines
from chorale_generation.engines import (
    CASCADE,
    REPLICATE,
    Engine,
    EngineNoncommercial,
    EngineUnknown,
)
from chorale_generation.messages import training as messages
from chorale_generation.providers import ProviderNotConfigured
from chorale_generation.refusals import DatasetTooSmall, SettingUnsupported, WeightsMissing
from chorale_generation.servicer.fetching import with_files
from chorale_generation.store.datasets import Dataset, Datasets, Item
from chorale_generation.store.models import PREFIX, Model, ModelNotFound, Store
from chorale_generation.store.registry import ModelExists
from chorale_generation.training.asked import Plan

CODEC = "models/encodec-24khz"
_LEAST_CODEC_SECONDS, _LEAST_PAIR_SECONDS = 2.0, 8.0  # two windows
_LEAST_TUNING_SECONDS = 5.0
# Measured on one core: CPU seconds per second of sound and epoch (a codec of 8 filters), per pair
# of windows of 4 s (encoding), and per pair, epoch and stage.
_CODEC_SECONDS, _PAIR_SECONDS, _STAGE_SECONDS = 0.35, 1.8, 0.12


@dataclass(frozen=True)
class Asked:
    """A request, with all that can be known to be wrong found right."""

    details: models_pb2.ModelDetails
    settings: training_pb2.TrainingSettings
    dataset: Dataset
    engine: Engine
    plan: Plan
    codec: Model | None = None
    base: Model | None = None
    stage_count: int = 1

    @property
    def estimate(self) -> audio_pb2.Estimate:
        """What it would take."""
        seconds = self.dataset.duration_seconds
        if self.codec is None:
            cost = _CODEC_SECONDS * seconds * self.plan.epochs
        else:
            pairs = min(512.0, seconds / 4.0)
            cost = pairs * (_PAIR_SECONDS + _STAGE_SECONDS * self.stage_count * self.plan.epochs)
        return audio_pb2.Estimate(
            engine=self.engine.name, device="cpu", seconds=min(cost, self.plan.limit_seconds)
        )


@dataclass(frozen=True)
class Tuned:
    """A request to train at a provider, likewise."""

    details: models_pb2.ModelDetails
    settings: training_pb2.TrainingSettings
    dataset: Dataset
    trainer: str  # `owner/name:version` there
    base: Model | None

    @property
    def learned(self) -> tuple[Item, ...]:
        """What is sent: what validates here stays here."""
        return tuple(item for item in self.dataset.items if not item.is_validation)

    @property
    def estimate(self) -> audio_pb2.Estimate:
        """What is known of it: how much is sent. How long it takes there nobody tells."""
        frames = sum(item.frame_count for item in self.learned)
        return audio_pb2.Estimate(
            engine=REPLICATE.name, device=REPLICATE.devices[0], output_bytes=2 * frames
        )


class TrainingPlanner:
    """Finds out what a request asks for."""

    def __init__(
        self, models: Store, datasets: Datasets, minutes_max: int, trainer: str = ""
    ) -> None:
        self._models, self._datasets = models, datasets
        self._minutes_max, self._trainer = minutes_max, trainer

    async def codec(self, request: training_pb2.TrainCodecRequest, seed: int = 0) -> Asked:
        """A codec to be trained; raises what is wrong with the request."""
        await self._require_new(request.details)
        engine = _engine(request.details.engine, False)
        dataset = await self._dataset(request.dataset, _LEAST_CODEC_SECONDS)
        plan = messages.plan(request.settings, seed, self._minutes_max)
        return Asked(request.details, request.settings, dataset, engine, plan)

    async def cascade(self, request: training_pb2.TrainModelRequest, seed: int = 0) -> Asked:
        """A cascade to be trained; raises what is wrong with the request."""
        await self._require_new(request.details)
        engine = _engine(request.details.engine, request.commercial_only)
        dataset = await self._dataset(request.dataset, _LEAST_PAIR_SECONDS)
        codec_name = request.codec or CODEC
        try:
            codec = with_files(await self._models.find(_owner(), codec_name), engine)
        except ModelNotFound as error:
            raise WeightsMissing(engine.name, codec_name, engine.remedy) from error
        base = await self._models.find(_owner(), request.base_model) if request.base_model else None
        base = with_files(base, engine) if base else None
        if base is not None and request.stage_count:
            raise SettingUnsupported("stage_count", str(request.stage_count), "0, with base_model,")
        plan = messages.plan(request.settings, seed, self._minutes_max)
        return Asked(
            request.details,
            request.settings,
            dataset,
            engine,
            plan,
            codec,
            base,
            request.stage_count or 1,
        )

    async def tuning(self, request: training_pb2.TrainModelRequest) -> Tuned:
        """A model to be trained at a provider; raises what is wrong with the request."""
        await self._require_new(request.details)
        base = await self._models.find(_owner(), request.base_model) if request.base_model else None
        if base is not None and base.provider != REPLICATE.name:
            known = f"a model that lives at {REPLICATE.name}"
            raise SettingUnsupported("base_model", base.name, known)
        messages.require_tunable(request)
        is_free = base is not None and base.commercial_use
        if request.commercial_only and not is_free:
            licence = base.licence if base else ""
            raise EngineNoncommercial(REPLICATE.name, licence or "a licence that is not stated")
        dataset = await self._dataset(request.dataset, _LEAST_TUNING_SECONDS)
        trainer = base.provider_id if base else self._trainer
        if not trainer:
            remedy = "name a base_model that lives there, or set CHORALE_REPLICATE_TRAINER"
            raise ProviderNotConfigured(REPLICATE.name, remedy, CASCADE)
        return Tuned(request.details, request.settings, dataset, trainer, base)

    async def trained(self, details: models_pb2.ModelDetails, operation: str) -> Model | None:
        """What an attempt at the operation registered before it was lost, if one came so far."""
        return await self._models.trained_by(_owner(), details.model, operation)

    async def _dataset(self, name: str, least_seconds: float) -> Dataset:
        dataset = await self._datasets.find(_owner(), name)
        learning = [item for item in dataset.items if not item.is_validation]
        frames = sum(item.frame_count for item in learning)
        if frames < least_seconds * dataset.sample_rate_hz:
            raise DatasetTooSmall(len(learning), len(learning) + 1, least_seconds)
        return dataset

    async def _require_new(self, details: models_pb2.ModelDetails) -> None:
        if not details.version:
            return
        name = f"{PREFIX}{details.model.removeprefix(PREFIX)}/{details.version}"
        try:
            found = await self._models.find(_owner(), name)
        except ModelNotFound:
            return
        if found.owner == _owner():
            raise ModelExists(name)


def _engine(name: str, commercial_only: bool) -> Engine:
    if name != CASCADE:
        raise EngineUnknown(name, "training", f"{CASCADE},{REPLICATE.name}")
    engine = next(each for each in engines.ENGINES if each.name == name)
    if commercial_only:
        raise EngineNoncommercial(engine.name, engine.noncommercial_licence)
    return engine


def _owner() -> str:
    return caller.current().principal


def drawn(operation: str) -> int:
    """A seed that another attempt at the same operation draws again."""
    return uuid.UUID(operation.removeprefix("operations/")).int % (1 << 53)
