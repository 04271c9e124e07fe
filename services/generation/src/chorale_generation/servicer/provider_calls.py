"""The calls about providers: how they are, and models that live there."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from chorale.generation.v1 import models_pb2, providers_pb2
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.refusals import FieldViolation, RequestInvalid

from chorale_generation.engines import CASCADE, EXPLAINER, REPHRASER, REPLICATE, EngineUnknown
from chorale_generation.messages.tracks import provenance
from chorale_generation.providers import ProviderRefused, ProviderUnavailable
from chorale_generation.servicer.entries import entry
from chorale_generation.servicer.model_calls import ModelCalls
from chorale_generation.servicer.outside.health import Health, State
from chorale_generation.servicer.rephrasing import Rephraser
from chorale_generation.settings import TRAINER

TRAINING = "training"
_CHECK_SECONDS = 30.0
_STATES = {
    State.UNKNOWN: providers_pb2.PROVIDER_STATE_UNSPECIFIED,
    State.UP: providers_pb2.PROVIDER_STATE_UP,
    State.DEGRADED: providers_pb2.PROVIDER_STATE_DEGRADED,
    State.DOWN: providers_pb2.PROVIDER_STATE_DOWN,
    State.CIRCUIT_OPEN: providers_pb2.PROVIDER_STATE_CIRCUIT_OPEN,
    State.HALF_OPEN: providers_pb2.PROVIDER_STATE_HALF_OPEN,
}


@dataclass(frozen=True)
class _Known:
    """A provider, as this build knows it."""

    name: str
    capability: str
    alternative: str
    remedy: str  # empty: it is configured
    health: Health


class ProviderCalls(ModelCalls):
    """Part of GenerationService."""

    _rephraser: Rephraser
    _checking: asyncio.Lock

    async def ListProviders(
        self, request: providers_pb2.ListProvidersRequest, _: Context
    ) -> providers_pb2.ListProvidersResponse:
        """Lists providers. Replicate is asked for its account where nobody asked it of late."""
        if request.capability in ("", TRAINING):
            await self._check()
        found = [each for each in self._known() if request.capability in ("", each.capability)]
        part = pages.page(found, request.page_size, request.page_token, request.capability)
        return providers_pb2.ListProvidersResponse(
            providers=[_provider(each) for each in part.items], next_page_token=part.next_token
        )

    async def RegisterModel(
        self, request: models_pb2.RegisterModelRequest, _: Context
    ) -> models_pb2.RegisterModelResponse:
        """Keeps the name of a model that lives at a provider; its files stay there."""
        details = request.details
        if (request.provider, details.engine) != (REPLICATE.name, REPLICATE.name):
            asked = f"{details.engine} at {request.provider}"
            raise EngineUnknown(asked, "models that live at a provider", REPLICATE.name)
        if not TRAINER.fullmatch(request.provider_id):
            raise RequestInvalid(
                [FieldViolation("provider_id", "owner/name:version", "must be owner/name:version.")]
            )
        told = {
            "provider": request.provider,
            "provider_id": request.provider_id,
            "source": details.source,
        }
        made_by = provenance("", REPLICATE, told)
        made_by.device = REPLICATE.devices[0]
        made = entry(details, REPLICATE, (), made_by.SerializeToString(deterministic=True))
        made = replace(made, provider=request.provider, provider_id=request.provider_id)
        model = await self._registry.register(caller.current().principal, made)
        return models_pb2.RegisterModelResponse(model=self._told(model))

    async def _check(self) -> None:
        """Asks Replicate how it is, at most every half minute and one caller at a time."""
        async with self._checking:
            if self._replicate.remedy or not self._replicate.health.is_older_than(_CHECK_SECONDS):
                return
            with suppress(ProviderUnavailable, ProviderRefused):  # its health remembers
                await self._replicate.account()

    def _known(self) -> Sequence[_Known]:
        rephraser = self._rephraser
        language = "" if rephraser.is_configured else REPHRASER.remedy
        return (
            _Known(
                REPHRASER.name,
                EXPLAINER.capability,
                EXPLAINER.name,
                language,
                self._rephraser.health,
            ),
            _Known(
                REPLICATE.name, TRAINING, CASCADE, self._replicate.remedy, self._replicate.health
            ),
        )


def _provider(known: _Known) -> providers_pb2.Provider:
    """A provider as it stands; of one that is not configured, what to do."""
    health, is_configured = known.health, not known.remedy
    not_configured = providers_pb2.PROVIDER_STATE_NOT_CONFIGURED
    message = providers_pb2.Provider(
        name=known.name,
        state=_STATES[health.state] if is_configured else not_configured,
        capabilities=[known.capability],
        alternatives=[known.alternative],
        failure_count=health.failure_count,
        detail=health.detail,
        latency_seconds=health.latency_seconds,
        success_rate=health.success_rate,
        configured=is_configured,
        remedy=known.remedy,
        waiting_count=health.waiting_count,
    )
    moments = {
        "check_time": health.check_time,
        "state_time": health.state_time,
        "retry_time": health.retry_time,
    }
    for name, moment in moments.items():
        if moment is not None:
            getattr(message, name).FromDatetime(moment)
    return message
