"""The call that tries engines on sounds of known truth."""

import time
from collections.abc import Mapping

from chorale.analysis.v1 import engines_pb2
from chorale_runtime.calls import Context
from chorale_runtime.operations import Job, Operations, Work, done
from google.longrunning import operations_pb2

from chorale_analysis import engines, messages, worker
from chorale_analysis.engine_trials import TRIALS, Outcome, Trial
from chorale_analysis.engines import Engine
from chorale_analysis.servicer.kinds import SERVICE
from chorale_analysis.servicer.listening import Listening

TEST = f"{SERVICE}/TestEngine"
_RECENT_SECONDS = 60.0  # what was tried within is told again: nobody can keep a machine busy so
_SECONDS_EACH = 1.0  # about, by the engines that are quick

_Request = engines_pb2.TestEngineRequest
_Response = engines_pb2.TestEngineResponse


class TestingCalls:
    """Part of AnalysisService."""

    _listening: Listening
    _operations: Operations
    _works: Mapping[str, Work]

    async def TestEngine(self, request: _Request, _: Context) -> operations_pb2.Operation:
        """Starts trying an engine."""
        chosen = await _chosen(self._listening, request)
        if request.validate_only:
            count = sum(len(TRIALS[engine.capability]) for engine in chosen)
            estimate = messages.estimate(chosen[0].name, _SECONDS_EACH * count, False)
            return done(_Response(estimate=estimate))
        return await self._operations.start(
            self._works[TEST], request, request_id=request.request_id
        )


def work(listening: Listening, queue: str, timeout_seconds: float) -> Work:
    """The long work behind TestEngine."""

    recent: dict[tuple[str, str, str], tuple[float, list[Outcome]]] = {}

    async def outcomes(job: Job[_Request], engine: Engine) -> list[Outcome]:
        """What came of every trial of an engine, just now or within the last minute."""
        key = engine.capability, engine.name, engine.version
        since, known = recent.get(key, (-_RECENT_SECONDS, []))
        if known and time.monotonic() - since < _RECENT_SECONDS:
            return known
        vocabulary = engine.vocabularies[0] if engine.file and engine.vocabularies else ""
        trials = [
            Trial(engine.capability, name, engine.name, engine.path, vocabulary)
            for name in TRIALS[engine.capability]
        ]
        found = await job.run(worker.attempt, trials)
        recent[key] = time.monotonic(), found
        return found

    async def run(job: Job[_Request]) -> _Response:
        started, chosen = time.monotonic(), await _chosen(listening, job.request)
        response = _Response(passed=True)
        for engine in chosen:
            found = await outcomes(job, engine)
            for name, outcome in zip(TRIALS[engine.capability], found, strict=True):
                response.passed = response.passed and outcome.passed
                response.tests.append(_told(job.request.engine, engine, name, outcome))
        seconds = time.monotonic() - started
        made_by = messages.provenance(job.request.engine, chosen[0], {}, seconds)
        response.provenance.CopyFrom(made_by)
        return response

    return Work(
        method=TEST,
        request=_Request,
        response=_Response,
        run=run,
        queue=queue,
        timeout_seconds=timeout_seconds,
    )


def _told(asked: str, engine: Engine, name: str, outcome: Outcome) -> engines_pb2.EngineTest:
    return engines_pb2.EngineTest(
        engine=engine.name,
        capability=engine.capability,
        name=name,
        passed=outcome.passed,
        expected=TRIALS[engine.capability][name],
        found=outcome.found,
        seconds=outcome.seconds,
        load_seconds=outcome.load_seconds if engine.path else 0.0,
        provenance=messages.provenance(asked, engine, {}, outcome.seconds),
    )


async def _chosen(listening: Listening, request: _Request) -> list[Engine]:
    """The engine of every capability that is to be tried; raises as `engines.choose` does."""
    asked = [request.capability] if request.capability else list(TRIALS)
    named = request.engine not in ("", engines.AUTO)
    if not request.capability and named:
        able = {one.capability for one in await listening.known() if one.name == request.engine}
        asked = [capability for capability in TRIALS if capability in able]
    if not asked or asked[0] not in TRIALS:
        known = ",".join(TRIALS)
        raise engines.EngineUnknown(request.engine or engines.AUTO, request.capability, known)
    return [
        await listening.choose(capability, request.engine, request.commercial_only)
        for capability in asked
    ]
