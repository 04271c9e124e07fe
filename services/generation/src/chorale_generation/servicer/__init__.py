"""The adapter: what GenerationService is asked."""

import asyncio
from collections.abc import Mapping

from chorale.generation.v1 import (
    generation_service_pb2,
    generation_service_pb2_grpc,
    models_pb2,
    tracks_pb2,
)
from chorale_audio.failures import AUDIO_ERRORS
from chorale_audio.reader import AudioReader
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import ERRORS as OPERATION_ERRORS
from chorale_runtime.operations import Operations, Work, done
from google.longrunning import operations_pb2
from grpc import StatusCode

from chorale_generation import checkpoints, engines, messages, providers, refusals
from chorale_generation.engines import EngineNoncommercial, EngineUnknown
from chorale_generation.servicer.cascades import CascadeWorks
from chorale_generation.servicer.dataset_calls import DatasetCalls
from chorale_generation.servicer.explain_calls import ExplainCalls
from chorale_generation.servicer.mosaics import GENERATE
from chorale_generation.servicer.planning import Planner
from chorale_generation.servicer.provider_calls import ProviderCalls
from chorale_generation.servicer.rephrasing import Rephraser
from chorale_generation.servicer.stream_calls import StreamCalls
from chorale_generation.servicer.training_calls import School, TrainingCalls
from chorale_generation.store import model_uploads
from chorale_generation.store.datasets import DatasetNotFound
from chorale_generation.store.model_uploads import ModelUploads
from chorale_generation.store.models import ModelNotFound, Store
from chorale_generation.store.pieces import Pieces
from chorale_generation.store.registry import ModelExists, ModelInUse, Registry

ERRORS: ErrorTable = {
    **OPERATION_ERRORS,
    **AUDIO_ERRORS,
    EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    ModelExists: (StatusCode.ALREADY_EXISTS, "MODEL_EXISTS"),
    ModelInUse: (StatusCode.FAILED_PRECONDITION, "MODEL_IN_USE"),
    checkpoints.CheckpointRefused: (StatusCode.INVALID_ARGUMENT, "MODEL_REFUSED"),
    checkpoints.NotTrained: (StatusCode.FAILED_PRECONDITION, "NOT_TRAINED"),
    model_uploads.UploadNotFound: (StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"),
    model_uploads.UploadGap: (StatusCode.OUT_OF_RANGE, "UPLOAD_GAP"),
    model_uploads.UploadContended: (StatusCode.ABORTED, "UPLOAD_CONTENDED"),
    model_uploads.UploadSizeMismatch: (StatusCode.FAILED_PRECONDITION, "UPLOAD_SIZE_MISMATCH"),
    model_uploads.ChecksumMismatch: (StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH"),
    model_uploads.UploadRequestReused: (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    model_uploads.UploadsFull: (StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    refusals.StreamOutOfOrder: (StatusCode.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER"),
    ModelNotFound: (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    DatasetNotFound: (StatusCode.NOT_FOUND, "DATASET_NOT_FOUND"),
    refusals.DatasetTooSmall: (StatusCode.FAILED_PRECONDITION, "DATASET_TOO_SMALL"),
    refusals.MemoryExhausted: (StatusCode.RESOURCE_EXHAUSTED, "DEVICE_MEMORY_EXHAUSTED"),
    refusals.WeightsMissing: (StatusCode.FAILED_PRECONDITION, "WEIGHTS_MISSING"),
    refusals.TrackTooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    refusals.TrackSilent: (StatusCode.FAILED_PRECONDITION, "AUDIO_SILENT"),
    refusals.SettingUnsupported: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    refusals.OperationNotDone: (StatusCode.FAILED_PRECONDITION, "OPERATION_NOT_DONE"),
    providers.ProviderNotConfigured: (StatusCode.FAILED_PRECONDITION, "PROVIDER_NOT_CONFIGURED"),
    providers.ProviderRefused: (StatusCode.FAILED_PRECONDITION, "PROVIDER_REFUSED"),
    providers.ProviderUnavailable: (StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    refusals.TierForbids: (StatusCode.PERMISSION_DENIED, "TIER_FORBIDS"),
    refusals.OperationUnfit: (StatusCode.INVALID_ARGUMENT, "OPERATION_UNFIT"),
}


class GenerationServicer(
    StreamCalls,
    ExplainCalls,
    DatasetCalls,
    TrainingCalls,
    ProviderCalls,
    generation_service_pb2_grpc.GenerationServiceServicer,
):
    """Answers GenerationService. Holds no music and no state of its own."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        operations: Operations,
        works: Mapping[str, Work],
        pieces: Pieces,
        reader: AudioReader,
        uploads: ModelUploads,
        registry: Registry,
        cascades: CascadeWorks,
        school: School,
        rephraser: Rephraser,
    ) -> None:
        self._store, self._planner = store, planner
        self._operations, self._works = operations, works
        self._pieces, self._reader = pieces, reader
        self._uploads, self._registry, self._cascades = uploads, registry, cascades
        self._datasets, self._prepares = school.datasets, school.prepares
        self._trainings, self._training_planner = school.trainings, school.planner
        self._rephraser, self._replicate = rephraser, school.replicate
        self._tuning_tiers, self._checking = school.tuning_tiers, asyncio.Lock()

    async def ListEngines(
        self, request: generation_service_pb2.ListEnginesRequest, _: Context
    ) -> generation_service_pb2.ListEnginesResponse:
        """Lists the engines of this service."""
        found = [each for each in engines.ENGINES if request.capability in ("", each.capability)]
        part = pages.page(found, request.page_size, request.page_token, request.capability)
        return generation_service_pb2.ListEnginesResponse(
            engines=[messages.engine(each, await self._is_available(each)) for each in part.items],
            next_page_token=part.next_token,
        )

    async def _is_available(self, engine: engines.Engine) -> bool:
        """Whether this build can run it, and the caller has the weights it needs."""
        if not engine.is_available:
            return False
        if engine is engines.REPHRASER:
            return self._rephraser.is_configured
        owner = caller.current().principal
        try:
            for weights in engine.weights:
                await self._store.find(owner, weights.model)
        except ModelNotFound:
            return False
        return True

    async def GenerateFromTracks(
        self, request: tracks_pb2.GenerateFromTracksRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts making one track of two, once all that can be known to be wrong is right."""
        asked = await self._planner.making(request)
        if asked.engine.name == engines.CASCADE:
            await self._cascades.weights(request, asked.engine)
        if request.validate_only:
            return done(tracks_pb2.GenerateFromTracksResponse(estimate=asked.estimate))
        return await self._operations.start(
            self._works[GENERATE],
            request,
            request_id=request.request_id,
            audio=list(dict.fromkeys((request.track_1.audio, request.track_2.audio))),
        )

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, _: Context
    ) -> models_pb2.ListModelsResponse:
        """Lists base models and the caller's own."""
        owner, wanted = caller.current().principal, messages.wanted(request)
        offset = pages.position(request.page_token, owner, wanted) or 0
        count = pages.size(request.page_size)
        rows = await self._store.page(owner, wanted, offset, count + 1)
        more = len(rows) > count
        return models_pb2.ListModelsResponse(
            models=[self._told(row) for row in rows[:count]],
            next_page_token=pages.token(offset + count, owner, wanted) if more else "",
        )

    async def GetModel(
        self, request: models_pb2.GetModelRequest, _: Context
    ) -> models_pb2.GetModelResponse:
        """Reads one version of a model."""
        found = await self._store.find(caller.current().principal, request.name)
        return models_pb2.GetModelResponse(model=self._told(found))
