"""The adapter: what GenerationService is asked."""

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
from chorale_runtime.operations import Operations, Work
from google.longrunning import operations_pb2
from grpc import StatusCode

from chorale_generation import engines, messages, refusals
from chorale_generation.engines import EngineNoncommercial, EngineUnavailable, EngineUnknown
from chorale_generation.servicer.explain_calls import ExplainCalls
from chorale_generation.servicer.mosaics import GENERATE, Planner
from chorale_generation.servicer.stream_calls import StreamCalls
from chorale_generation.store.models import ModelNotFound, Store
from chorale_generation.store.pieces import Pieces

ERRORS: ErrorTable = {
    **OPERATION_ERRORS,
    **AUDIO_ERRORS,
    EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    EngineUnavailable: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    ModelNotFound: (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    refusals.TrackTooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    refusals.TrackSilent: (StatusCode.FAILED_PRECONDITION, "AUDIO_SILENT"),
    refusals.SettingUnsupported: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    refusals.OperationNotDone: (StatusCode.FAILED_PRECONDITION, "OPERATION_NOT_DONE"),
    refusals.OperationUnfit: (StatusCode.INVALID_ARGUMENT, "OPERATION_UNFIT"),
}


class GenerationServicer(
    StreamCalls, ExplainCalls, generation_service_pb2_grpc.GenerationServiceServicer
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
    ) -> None:
        self._store, self._planner = store, planner
        self._operations, self._works = operations, works
        self._pieces, self._reader = pieces, reader

    async def ListEngines(
        self, request: generation_service_pb2.ListEnginesRequest, _: Context
    ) -> generation_service_pb2.ListEnginesResponse:
        """Lists the engines of this service."""
        found = [each for each in engines.ENGINES if request.capability in ("", each.capability)]
        part = pages.page(found, request.page_size, request.page_token, request.capability)
        return generation_service_pb2.ListEnginesResponse(
            engines=[messages.engine(each) for each in part.items],
            next_page_token=part.next_token,
        )

    async def GenerateFromTracks(
        self, request: tracks_pb2.GenerateFromTracksRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts making one track of two, once all that can be known to be wrong is right."""
        asked = await self._planner.making(request)
        if request.validate_only:
            done = operations_pb2.Operation(done=True)
            done.response.Pack(tracks_pb2.GenerateFromTracksResponse(estimate=asked.estimate))
            return done
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
            models=[messages.model(row) for row in rows[:count]],
            next_page_token=pages.token(offset + count, owner, wanted) if more else "",
        )

    async def GetModel(
        self, request: models_pb2.GetModelRequest, _: Context
    ) -> models_pb2.GetModelResponse:
        """Reads one version of a model."""
        found = await self._store.find(caller.current().principal, request.name)
        return models_pb2.GetModelResponse(model=messages.model(found))
