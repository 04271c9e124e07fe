"""The adapter: what AnalysisService is asked, and what its operations do."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from chorale.analysis.v1 import (
    analysis_service_pb2_grpc,
    beats_pb2,
    engines_pb2,
    harmony_pb2,
)
from chorale.engines.v1 import engine_pb2
from chorale_audio.failures import AUDIO_ERRORS
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.answers import Answers
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import ERRORS as OPERATION_ERRORS
from chorale_runtime.operations import Job, Operations, Work
from chorale_runtime.pages import page
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from grpc import StatusCode

from chorale_analysis import engines, listening, messages, rhythm, tonality, worker
from chorale_analysis.engines import Engine

TRACK_BEATS = "chorale.analysis.v1.AnalysisService/TrackBeats"
DETECT_KEY = "chorale.analysis.v1.AnalysisService/DetectKey"

ERRORS: ErrorTable = {
    **OPERATION_ERRORS,
    **AUDIO_ERRORS,
    listening.TooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    listening.TooLong: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    listening.Silent: (StatusCode.FAILED_PRECONDITION, "AUDIO_SILENT"),
    engines.EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    engines.EngineUnavailable: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    engines.EngineNoncommercial: (StatusCode.FAILED_PRECONDITION, "ENGINE_NONCOMMERCIAL"),
    messages.SettingUnsupported: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
}

# Measured here on one core: CPU seconds per second of audio, and what starting costs.
_BEATS_PRICE, _KEY_PRICE, _SECONDS_AT_LEAST = 0.005, 0.002, 0.05

A = TypeVar("A", beats_pb2.TrackBeatsResponse, harmony_pb2.DetectKeyResponse)
Request = beats_pb2.TrackBeatsRequest | harmony_pb2.DetectKeyRequest


@dataclass(frozen=True)
class Listening:
    """A request to listen, with all that can be known to be wrong found right."""

    method: str
    engine: Engine
    source: Source
    settings: Mapping[str, str]
    seconds: float

    @property
    def question(self) -> tuple[object, ...]:
        """What decides the answer, and nothing else."""
        run = self.source.start_frame, self.source.frame_count
        made_by = self.engine.name, self.engine.version
        return self.method, self.source.audio, *run, *made_by, *sorted(self.settings.items())


class Checks:
    """Finds out before any work whether it can be done."""

    def __init__(self, reader: AudioReader, listen_seconds_max: float) -> None:
        self._reader, self._listen_seconds_max = reader, listen_seconds_max

    async def beats(
        self, request: beats_pb2.TrackBeatsRequest
    ) -> tuple[Listening, rhythm.RhythmSettings]:
        """What tracking beats will need."""
        engine = engines.choose(engines.BEATS, request.engine, request.commercial_only)
        settings = messages.rhythm_settings(request.settings, engine)
        source = await self._source(request, rhythm.MINIMUM_SECONDS)
        return _listening(TRACK_BEATS, engine, source, settings, _BEATS_PRICE), settings

    async def key(
        self, request: harmony_pb2.DetectKeyRequest
    ) -> tuple[Listening, tonality.KeySettings]:
        """What detecting the key will need."""
        engine = engines.choose(engines.KEY, request.engine, request.commercial_only)
        settings = messages.key_settings(request.settings)
        source = await self._source(request, tonality.MINIMUM_SECONDS)
        return _listening(DETECT_KEY, engine, source, settings, _KEY_PRICE), settings

    async def _source(self, request: Request, least_seconds: float) -> Source:
        span = messages.span(request.span) if request.HasField("span") else None
        source = await self._reader.locate(request.audio, span)
        listening.require_length(
            source.frame_count, source.sample_rate_hz, least_seconds, self._listen_seconds_max
        )
        return source


class AnalysisWorks:
    """What the operations of this service do, once a worker has taken them up."""

    def __init__(self, checks: Checks, answers: Answers) -> None:
        self._checks, self._answers = checks, answers

    async def track_beats(
        self, job: Job[beats_pb2.TrackBeatsRequest]
    ) -> beats_pb2.TrackBeatsResponse:
        """Finds beats, or remembers what was found."""
        asked, settings = await self._checks.beats(job.request)
        kept = await self._kept(asked, job.request, beats_pb2.TrackBeatsResponse)
        if kept is not None:
            return kept
        started = time.monotonic()
        found = await job.run(worker.track_beats, asked.source, settings)
        answer = beats_pb2.TrackBeatsResponse(
            beats=messages.beat_track(asked.source, found),
            provenance=_provenance(asked, job.request, started),
            audio=asked.source.audio,
        )
        await self._answers.keep(asked.question, answer)
        return answer

    async def detect_key(
        self, job: Job[harmony_pb2.DetectKeyRequest]
    ) -> harmony_pb2.DetectKeyResponse:
        """Finds the key, or remembers what was found."""
        asked, settings = await self._checks.key(job.request)
        kept = await self._kept(asked, job.request, harmony_pb2.DetectKeyResponse)
        if kept is not None:
            return kept
        started = time.monotonic()
        found = await job.run(worker.detect_key, asked.source, settings)
        answer = harmony_pb2.DetectKeyResponse(
            key=messages.key_track(asked.source, found),
            provenance=_provenance(asked, job.request, started),
            audio=asked.source.audio,
        )
        await self._answers.keep(asked.question, answer)
        return answer

    async def _kept(self, asked: Listening, request: Request, kind: type[A]) -> A | None:
        kept = await self._answers.find(asked.question, kind)
        if kept is not None:
            kept.provenance.from_cache = True
            kept.provenance.engine_requested = request.engine or engines.AUTO
        return kept


class AnalysisServicer(analysis_service_pb2_grpc.AnalysisServiceServicer):
    """Answers AnalysisService. Holds no music and no state of its own."""

    def __init__(
        self,
        checks: Checks,
        answers: Answers,
        operations: Operations,
        works: Mapping[str, Work],
    ) -> None:
        self._checks, self._answers = checks, answers
        self._operations, self._works = operations, works

    async def ListEngines(
        self, request: engines_pb2.ListEnginesRequest, _: Context
    ) -> engines_pb2.ListEnginesResponse:
        """Lists the engines of this service."""
        found = [e for e in engines.ENGINES if request.capability in ("", e.capability)]
        part = page(found, request.page_size, request.page_token, request.capability)
        return engines_pb2.ListEnginesResponse(
            engines=[messages.engine(engine) for engine in part.items],
            next_page_token=part.next_token,
        )

    async def TrackBeats(
        self, request: beats_pb2.TrackBeatsRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding beats, once all that can be known to be wrong was found right."""
        asked, _settings = await self._checks.beats(request)
        if request.validate_only:
            cached = await self._answers.find(asked.question, beats_pb2.TrackBeatsResponse)
            estimate = messages.estimate(asked.engine, asked.seconds, cached is not None)
            return _done(beats_pb2.TrackBeatsResponse(estimate=estimate))
        return await self._start(asked, request)

    async def DetectKey(
        self, request: harmony_pb2.DetectKeyRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding the key, once all that can be known to be wrong was found right."""
        asked, _settings = await self._checks.key(request)
        if request.validate_only:
            cached = await self._answers.find(asked.question, harmony_pb2.DetectKeyResponse)
            estimate = messages.estimate(asked.engine, asked.seconds, cached is not None)
            return _done(harmony_pb2.DetectKeyResponse(estimate=estimate))
        return await self._start(asked, request)

    async def _start(self, asked: Listening, request: Request) -> operations_pb2.Operation:
        work = self._works[asked.method]
        return await self._operations.start(
            work, request, request_id=request.request_id, audio=[request.audio]
        )


def _listening(
    method: str,
    engine: Engine,
    source: Source,
    settings: rhythm.RhythmSettings | tonality.KeySettings,
    price: float,
) -> Listening:
    seconds = _SECONDS_AT_LEAST + source.duration_seconds * price
    return Listening(method, engine, source, messages.told(settings), seconds)


def _provenance(asked: Listening, request: Request, started: float) -> engine_pb2.Provenance:
    seconds = time.monotonic() - started
    return messages.provenance(request.engine, asked.engine, asked.settings, seconds)


def _done(response: Message) -> operations_pb2.Operation:
    """An operation that is over before it began, of which nothing is kept."""
    operation = operations_pb2.Operation(done=True)
    operation.response.Pack(response)
    return operation
