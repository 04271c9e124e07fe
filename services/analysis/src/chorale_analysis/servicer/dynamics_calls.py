"""The call that measures level and loudness."""

import time
from collections.abc import Mapping
from dataclasses import asdict

from chorale.analysis.v1 import dynamics_pb2
from chorale_audio.source import Source
from chorale_runtime.calls import Context
from chorale_runtime.operations import Job, Operations, Work
from google.longrunning import operations_pb2

from chorale_analysis import engines, messages, worker
from chorale_analysis.dynamics import DynamicsSettings
from chorale_analysis.engines import Engine
from chorale_analysis.messages.dynamics import dynamics, dynamics_settings
from chorale_analysis.servicer.done import done
from chorale_analysis.servicer.kinds import SERVICE
from chorale_analysis.servicer.listening import Listening

MEASURE = f"{SERVICE}/MeasureDynamics"
_SECONDS_PER_SECOND = 0.006  # of CPU, of sound
_SECONDS_AT_LEAST = 0.05

_Request = dynamics_pb2.MeasureDynamicsRequest
_Response = dynamics_pb2.MeasureDynamicsResponse


class DynamicsCalls:
    """Part of AnalysisService."""

    _listening: Listening
    _operations: Operations
    _works: Mapping[str, Work]

    async def MeasureDynamics(self, request: _Request, _: Context) -> operations_pb2.Operation:
        """Starts measuring level and loudness."""
        engine, source, settings = await _asked(self._listening, request)
        if request.validate_only:
            kept = await self._listening.answer(_question(engine, source, settings), _Response)
            seconds = _SECONDS_AT_LEAST + source.duration_seconds * _SECONDS_PER_SECOND
            estimate = messages.estimate(engine.name, seconds, kept is not None)
            return done(_Response(estimate=estimate))
        return await self._operations.start(
            self._works[MEASURE], request, request_id=request.request_id, audio=[request.audio]
        )


def work(listening: Listening, queue: str, timeout_seconds: float) -> Work:
    """The long work behind MeasureDynamics."""

    async def run(job: Job[_Request]) -> _Response:
        engine, source, settings = await _asked(listening, job.request)
        question = _question(engine, source, settings)
        kept = await listening.answer(question, _Response)
        if kept is not None:
            kept.provenance.from_cache = True
            kept.provenance.engine_requested = job.request.engine or engines.AUTO
            return kept
        started = time.monotonic()
        found = await job.run(worker.measure, source, settings)
        told = {name: f"{value:g}" for name, value in asdict(settings).items()}
        made_by = messages.provenance(job.request.engine, engine, told, time.monotonic() - started)
        answer = _Response(dynamics=dynamics(source, found), provenance=made_by, audio=source.audio)
        await listening.keep(question, answer)
        return answer

    return Work(
        method=MEASURE,
        request=_Request,
        response=_Response,
        run=run,
        queue=queue,
        timeout_seconds=timeout_seconds,
    )


async def _asked(
    listening: Listening, request: _Request
) -> tuple[Engine, Source, DynamicsSettings]:
    engine = engines.choose(engines.DYNAMICS, request.engine, request.commercial_only)
    source = await listening.source(request)
    listening.require_seconds(source, 0.0)
    return engine, source, dynamics_settings(request)


def _question(engine: Engine, source: Source, settings: DynamicsSettings) -> tuple[object, ...]:
    """What decides the answer, and nothing else."""
    run = source.start_frame, source.frame_count
    asked = settings.silence_below_peak_db, settings.curve_points
    return MEASURE, source.audio, *run, engine.name, engine.version, *asked
