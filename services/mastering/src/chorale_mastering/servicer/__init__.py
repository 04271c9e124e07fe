"""The adapter: what MasteringService is asked, and what its operations do."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from chorale.mastering.v1 import (
    loudness_pb2,
    mastering_service_pb2,
    mastering_service_pb2_grpc,
)
from chorale_audio.failures import AUDIO_ERRORS
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.answers import Answers
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import ERRORS as OPERATION_ERRORS
from chorale_runtime.operations import Job, Operations, Work, done
from chorale_runtime.pages import page
from chorale_runtime.positions import Positions
from google.longrunning import operations_pb2
from grpc import StatusCode

from chorale_mastering import engines, messages, refusals, tone, worker
from chorale_mastering.engines import Engine
from chorale_mastering.loudness import NotFinite, TooShort, require_window
from chorale_mastering.messages.matching import SettingUnsupported
from chorale_mastering.servicer.master_calls import MasterCalls
from chorale_mastering.servicer.masters import Planner
from chorale_mastering.servicer.preset_calls import PresetCalls
from chorale_mastering.servicer.reference_calls import ReferenceCalls
from chorale_mastering.servicer.stream_calls import StreamCalls
from chorale_mastering.store import presets, references
from chorale_mastering.store.presets import Presets
from chorale_mastering.store.references import References
from chorale_mastering.worker.live_masters import LiveMasters

MEASURE = "chorale.mastering.v1.MasteringService/MeasureLoudness"

ERRORS: ErrorTable = {
    **OPERATION_ERRORS,
    **AUDIO_ERRORS,
    TooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    NotFinite: (StatusCode.INVALID_ARGUMENT, "FRAMES_INVALID"),
    engines.EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    messages.LayoutMismatch: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    messages.StreamOutOfOrder: (StatusCode.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER"),
    worker.FramesTorn: (StatusCode.INVALID_ARGUMENT, "FRAMES_INVALID"),
    worker.SoundTooLong: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    refusals.NoFrames: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    refusals.CodecMissing: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    refusals.EncodingUnfit: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    refusals.ReferenceUnsuitable: (StatusCode.FAILED_PRECONDITION, "REFERENCE_UNSUITABLE"),
    references.ReferenceNotFound: (StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND"),
    SettingUnsupported: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    tone.BandTooHigh: (StatusCode.INVALID_ARGUMENT, "SETTING_UNSUPPORTED"),
    presets.PresetNotFound: (StatusCode.NOT_FOUND, "PRESET_NOT_FOUND"),
    presets.PresetExists: (StatusCode.ALREADY_EXISTS, "PRESET_EXISTS"),
    presets.PresetBuiltIn: (StatusCode.FAILED_PRECONDITION, "PRESET_BUILT_IN"),
    presets.PresetsFull: (StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
}

# Measured here on one core: storage, decoding and the meter, and what starting costs.
_SECONDS_PER_SAMPLE, _SECONDS_AT_LEAST = 15e-9, 0.05


class MasteringWorks:
    """What the operations of this service do, once a worker has taken them up."""

    def __init__(self, reader: AudioReader, answers: Answers) -> None:
        self._reader, self._answers = reader, answers

    async def measure_loudness(
        self, job: Job[loudness_pb2.MeasureLoudnessRequest]
    ) -> loudness_pb2.MeasureLoudnessResponse:
        """Measures named audio, or remembers what it measured."""
        asked = await _Measuring.of(job.request, self._reader)
        kept = await self._answers.find(asked.question, kind=loudness_pb2.MeasureLoudnessResponse)
        if kept is not None:
            kept.provenance.from_cache = True
            kept.provenance.engine_requested = job.request.engine or engines.AUTO
            return kept
        started = time.monotonic()
        measured = await job.run(
            worker.measure_loudness, asked.source, asked.weights, job.request.curve_points
        )
        made_by = messages.provenance(
            job.request.engine, asked.engine, asked.settings, time.monotonic() - started
        )
        answer = messages.measured(asked.source, measured, made_by)
        await self._answers.keep(asked.question, answer)
        return answer


class MasteringServicer(
    MasterCalls,
    StreamCalls,
    ReferenceCalls,
    PresetCalls,
    mastering_service_pb2_grpc.MasteringServiceServicer,
):
    """Answers MasteringService. Holds no music and no state of its own."""

    def __init__(
        self,
        reader: AudioReader,
        answers: Answers,
        operations: Operations,
        works: Mapping[str, Work],
        live: worker.LiveMeters,
        planner: Planner,
        presets: Presets,
        references: References,
        positions: Positions,
        live_masters: LiveMasters,
    ) -> None:
        self._reader, self._answers, self._live = reader, answers, live
        self._planner, self._presets, self._references = planner, presets, references
        self._positions, self._live_masters = positions, live_masters
        self._operations, self._works = operations, works

    async def ListEngines(
        self, request: mastering_service_pb2.ListEnginesRequest, _: Context
    ) -> mastering_service_pb2.ListEnginesResponse:
        """Lists the engines of this service."""
        found = [
            engine for engine in engines.ENGINES if request.capability in ("", engine.capability)
        ]
        part = page(found, request.page_size, request.page_token, request.capability)
        return mastering_service_pb2.ListEnginesResponse(
            engines=[messages.engine(engine) for engine in part.items],
            next_page_token=part.next_token,
        )

    async def MeasureLoudness(
        self, request: loudness_pb2.MeasureLoudnessRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts measuring, once all that can be known to be wrong was found right."""
        asked = await _Measuring.of(request, self._reader)
        if request.validate_only:
            kept = await self._answers.find(asked.question, loudness_pb2.MeasureLoudnessResponse)
            return done(messages.estimated(asked.engine, asked.seconds, cached=kept is not None))
        return await self._operations.start(
            self._works[MEASURE],
            request,
            request_id=request.request_id,
            audio=[request.audio],
        )

    async def MeterStream(
        self, requests: AsyncIterator[loudness_pb2.MeterStreamRequest], _: Context
    ) -> AsyncIterator[loudness_pb2.MeterStreamResponse]:
        """Measures sound while it comes."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("message") != "config":
            raise messages.StreamOutOfOrder("config in the first message")
        config = first.config
        engine = engines.choose(engines.LOUDNESS, config.engine)
        weights = messages.weights(config.channel_layout, config.format.channel_count)
        made_by = messages.provenance(config.engine, engine, _settings(config.channel_layout, 0))
        revision = 0
        async with self._live.open(
            config.format.sample_rate_hz, weights, config.interval_frames
        ) as meter:
            async for request in requests:
                if request.WhichOneof("message") != "frames":
                    raise messages.StreamOutOfOrder("frames in every later message")
                for reading in await meter.push(request.frames):
                    revision += 1
                    yield messages.metered(reading, revision, made_by if revision == 1 else None)
            yield messages.metered(await meter.finish(), revision + 1, made_by, is_final=True)


@dataclass(frozen=True)
class _Measuring:
    """A request to measure, with all that can be known to be wrong found right."""

    engine: Engine
    source: Source
    weights: tuple[float, ...]
    settings: Mapping[str, str]

    @classmethod
    async def of(
        cls, request: loudness_pb2.MeasureLoudnessRequest, reader: AudioReader
    ) -> "_Measuring":
        engine = engines.choose(engines.LOUDNESS, request.engine)
        span = messages.span(request.span) if request.HasField("span") else None
        source = await reader.locate(request.audio, span)
        require_window(source.frame_count, source.sample_rate_hz)
        return cls(
            engine,
            source,
            messages.weights(request.channel_layout, source.channel_count),
            _settings(request.channel_layout, request.curve_points),
        )

    @property
    def question(self) -> tuple[object, ...]:
        """What decides the answer, and nothing else."""
        run = self.source.start_frame, self.source.frame_count
        made_by = self.engine.name, self.engine.version
        return MEASURE, self.source.audio, *run, *made_by, *sorted(self.settings.items())

    @property
    def seconds(self) -> float:
        """How long measuring will take."""
        samples = self.source.frame_count * self.source.channel_count
        return _SECONDS_AT_LEAST + samples * _SECONDS_PER_SAMPLE


def _settings(channel_layout: int, curve_points: int) -> Mapping[str, str]:
    return {
        "channel_layout": loudness_pb2.ChannelLayout.Name(channel_layout),
        "curve_points": str(curve_points),
    }
