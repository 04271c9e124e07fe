"""The adapter: what GenerationService is asked."""

from chorale.generation.v1 import (
    generation_service_pb2,
    generation_service_pb2_grpc,
    models_pb2,
    tracks_pb2,
)
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from google.longrunning import operations_pb2
from grpc import StatusCode

from chorale_generation import engines, messages
from chorale_generation.engines import EngineNoncommercial, EngineUnavailable, EngineUnknown
from chorale_generation.store import ModelNotFound, Store

ERRORS: ErrorTable = {
    EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    EngineUnavailable: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    ModelNotFound: (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
}


class GenerationServicer(generation_service_pb2_grpc.GenerationServiceServicer):
    """Answers GenerationService. Holds no music and no state of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        """Says why the engine cannot make one track of two: no engine of this build can."""
        engine = engines.choose(engines.TWO_TRACKS, request.engine, request.commercial_only)
        raise EngineUnavailable(engine.name, engines.REMEDY)

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
