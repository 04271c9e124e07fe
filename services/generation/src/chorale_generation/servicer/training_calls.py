"""The calls that train, and the one that tells how it goes."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from chorale.generation.v1 import training_pb2
from chorale_runtime import caller
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations, Work, done
from google.longrunning import operations_pb2

from chorale_generation.engines import CASCADE, REPLICATE
from chorale_generation.messages import training as messages
from chorale_generation.providers import ProviderNotConfigured
from chorale_generation.refusals import OperationUnfit, TierForbids
from chorale_generation.servicer.outside.replicate import Replicate
from chorale_generation.servicer.preparing import PrepareWorks
from chorale_generation.servicer.stream_calls import HEARTBEAT_SECONDS
from chorale_generation.servicer.training_asked import TrainingPlanner
from chorale_generation.servicer.trainings import TRAIN_CODEC, TRAIN_MODEL
from chorale_generation.store.datasets import Datasets
from chorale_generation.store.trainings import Trainings

PROVIDER_QUEUE = "generation.provider"  # what waits there is busy nowhere here
_LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class School:
    """What the calls about datasets and training stand on."""

    datasets: Datasets
    prepares: PrepareWorks
    trainings: Trainings
    planner: TrainingPlanner
    replicate: Replicate
    tuning_tiers: Sequence[str] = ()


class TrainingCalls:
    """Part of GenerationService."""

    _operations: Operations
    _works: Mapping[str, Work]
    _trainings: Trainings
    _training_planner: TrainingPlanner
    _replicate: Replicate
    _tuning_tiers: Sequence[str]

    async def TrainModel(
        self, request: training_pb2.TrainModelRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts training a cascade, once all that can be known to be wrong is right."""
        if request.details.engine == REPLICATE.name:
            return await self._tuning(request)
        asked = await self._training_planner.cascade(request)
        if request.validate_only:
            return done(training_pb2.TrainModelResponse(estimate=asked.estimate))
        return await self._operations.start(
            self._works[TRAIN_MODEL], request, request_id=request.request_id
        )

    async def _tuning(self, request: training_pb2.TrainModelRequest) -> operations_pb2.Operation:
        """Starts training at a provider, once it has said that it knows the key."""
        if remedy := self._replicate.remedy:
            raise ProviderNotConfigured(REPLICATE.name, remedy, CASCADE)
        tier = caller.current().tier
        if self._tuning_tiers and tier not in self._tuning_tiers:
            raise TierForbids(tier, "training_at_a_provider", ",".join(self._tuning_tiers))
        asked = await self._training_planner.tuning(request)
        await self._replicate.account()
        if request.validate_only:
            return done(training_pb2.TrainModelResponse(estimate=asked.estimate))
        return await self._operations.start(
            self._works[TRAIN_MODEL],
            request,
            request_id=request.request_id,
            queue=PROVIDER_QUEUE,
        )

    async def TrainCodec(
        self, request: training_pb2.TrainCodecRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts training a codec."""
        asked = await self._training_planner.codec(request)
        messages.require_bandwidth(request)
        if request.validate_only:
            return done(training_pb2.TrainCodecResponse(estimate=asked.estimate))
        return await self._operations.start(
            self._works[TRAIN_CODEC], request, request_id=request.request_id
        )

    async def StreamTraining(
        self, request: training_pb2.StreamTrainingRequest, _: Context
    ) -> AsyncIterator[training_pb2.StreamTrainingResponse]:
        """Sends the curve as it grows, from after a step on."""
        step, sent_at = request.after_step, time.monotonic()
        while True:
            record = await self._operations.find(request.operation)
            if record.method not in (TRAIN_MODEL, TRAIN_CODEC):
                raise OperationUnfit(request.operation, record.method, "TrainModel or TrainCodec")
            if record.state in ("failed", "cancelled"):
                raise OperationUnfit(request.operation, record.method, "one that did not fail")
            for told in await self._trainings.curve(request.operation, step):
                step, sent_at = told.point.step, time.monotonic()
                yield training_pb2.StreamTrainingResponse(point=messages.point(told))
            if record.is_done:
                yield training_pb2.StreamTrainingResponse(is_final=True)
                return
            if time.monotonic() - sent_at >= HEARTBEAT_SECONDS:
                sent_at = time.monotonic()
                yield training_pb2.StreamTrainingResponse()
            await asyncio.sleep(_LOOK_SECONDS)
