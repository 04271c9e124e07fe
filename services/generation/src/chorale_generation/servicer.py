"""The adapter: what GenerationService is asked."""

from chorale.generation.v1 import (
    generation_service_pb2,
    generation_service_pb2_grpc,
    models_pb2,
    tracks_pb2,
)
from chorale_runtime import caller
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.refusals import NotServed
from google.longrunning import operations_pb2
from grpc import StatusCode

from chorale_generation import engines, messages, pages
from chorale_generation.engines import EngineNoncommercial, EngineUnknown, WeightsMissing
from chorale_generation.store import ModelNotFound, Store

ERRORS: ErrorTable = {
    EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    WeightsMissing: (StatusCode.FAILED_PRECONDITION, "WEIGHTS_MISSING"),
    ModelNotFound: (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
}

SERVICE = "chorale.generation.v1.GenerationService"


class GenerationServicer(generation_service_pb2_grpc.GenerationServiceServicer):
    """Answers GenerationService. Holds no music and no state of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ListEngines(
        self, request: generation_service_pb2.ListEnginesRequest, _: Context
    ) -> generation_service_pb2.ListEnginesResponse:
        """Lists the engines of this service, as they stand for the caller."""
        present = await self._store.present(caller.current().principal)
        found = [each for each in engines.ENGINES if request.capability in ("", each.capability)]
        part = pages.page(found, request.page_size, request.page_token, request.capability)
        return generation_service_pb2.ListEnginesResponse(
            engines=[messages.engine(engines.standing(each, present)) for each in part.items],
            next_page_token=part.next_token,
        )

    async def GenerateFromTracks(
        self, request: tracks_pb2.GenerateFromTracksRequest, _: Context
    ) -> operations_pb2.Operation:
        """Says why the engine cannot make one track of two yet; no build before it can."""
        engine = engines.choose(engines.TWO_TRACKS, request.engine, request.commercial_only)
        present = await self._store.present(caller.current().principal)
        standing = engines.standing(engine, present)
        if standing.missing:
            missing = ", ".join(weights.model for weights in standing.missing)
            steps = " && ".join(weights.remedy for weights in standing.missing)
            raise WeightsMissing(engine.name, missing, steps)
        raise NotServed(f"{SERVICE}/GenerateFromTracks by the engine {engine.name}")

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
