"""The call that explains what was made, from its operation's record."""

from chorale.generation.v1 import explain_pb2, tracks_pb2
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations

from chorale_generation import engines
from chorale_generation.explaining import Account, advice, facts
from chorale_generation.messages import tracks as messages
from chorale_generation.refusals import OperationNotDone, OperationUnfit
from chorale_generation.servicer.mosaics import GENERATE
from chorale_generation.servicer.rephrasing import Rephraser


class ExplainCalls:
    """Part of GenerationService."""

    _operations: Operations
    _rephraser: Rephraser

    async def Explain(
        self, request: explain_pb2.ExplainRequest, _: Context
    ) -> explain_pb2.ExplainResponse:
        """Tells facts, sentences and advice; nothing that is not in the record."""
        engine = engines.choose(engines.EXPLAIN, request.engine, request.commercial_only)
        record = await self._operations.find(request.operation)
        if record.method != GENERATE:
            raise OperationUnfit(request.operation, record.method, "GenerateFromTracks")
        if not record.is_done:
            stage = record.event.stage if record.event else ""
            raise OperationNotDone(request.operation, stage)
        answer = tracks_pb2.GenerateFromTracksResponse()
        if record.response is None or not record.operation().response.Unpack(answer):
            raise OperationUnfit(request.operation, record.method, "one that did not fail")
        account = _account(tracks_pb2.GenerateFromTracksRequest.FromString(record.request), answer)
        known, language = facts(account, request.language), request.language or "en"
        text, told = " ".join(fact.text for fact in known), {"language": language}
        if engine is engines.REPHRASER:
            text, refused = await self._rephraser.rephrased(text, language)
            if refused:
                engine, told["rephrasing_refused"] = engines.EXPLAINER, refused
        return explain_pb2.ExplainResponse(
            facts=[explain_pb2.Fact(**vars(fact)) for fact in known],
            text=text,
            advice=[explain_pb2.Advice(**vars(each)) for each in advice(account, request.language)],
            provenance=messages.provenance(request.engine, engine, told),
        )


def _account(
    request: tracks_pb2.GenerateFromTracksRequest, answer: tracks_pb2.GenerateFromTracksResponse
) -> Account:
    heard = answer.generation.adherence
    masks = (answer.masks.track_1_mean, answer.masks.track_2_mean)
    return Account(
        engine=answer.provenance.engine_used,
        version=answer.provenance.engine_version,
        settings=dict(answer.provenance.settings),
        wanted_bpm=heard.wanted_bpm,
        found_bpm=heard.found_bpm,
        wanted_key=heard.wanted_key,
        found_key=heard.found_key,
        integrated_lufs=heard.integrated_lufs,
        warnings=tuple(heard.warnings),
        audio=(request.track_1.audio, request.track_2.audio),
        concessions=tuple(answer.generation.concessions),
        masks=masks if answer.HasField("masks") else None,
        correlations=(answer.rhythm.track_1_correlation, answer.rhythm.track_2_correlation),
    )
