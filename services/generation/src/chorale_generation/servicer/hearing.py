"""What other services hear in a track: beats and key by analysis, loudness by mastering."""

import asyncio
import uuid
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc
from chorale.analysis.v1 import analysis_service_pb2_grpc, beats_pb2, harmony_pb2
from chorale.audio.v1 import audio_pb2
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2_grpc
from chorale_audio.answers import error_info
from chorale_audio.failures import AudioNotFound
from chorale_audio.source import Source
from chorale_runtime.dependencies import DependencyUnavailable
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from chorale_generation.mosaic.heard import Heard, Outcome
from chorale_generation.refusals import TrackSilent, TrackTooShort

_ASK_SECONDS, _WAIT_SECONDS = 30.0, 20.0
_NAMESPACE = uuid.UUID("8a3f6d0e-6f6e-4a8e-9f8e-2f7f6f0f3c11")

# What keeps a track from being heard, and need not keep it from being worked with.
UNHEARD = (DependencyUnavailable, TrackSilent, TrackTooShort)

A = TypeVar("A", bound=Message)


class Hearing:
    """Asks other services, in the name of the owner of the running job."""

    def __init__(self, analysis: grpc.aio.Channel, mastering: grpc.aio.Channel) -> None:
        self._analysis = analysis_service_pb2_grpc.AnalysisServiceStub(analysis)
        self._mastering = mastering_service_pb2_grpc.MasteringServiceStub(mastering)
        self._analysed = operations_pb2_grpc.OperationsStub(analysis)
        self._measured = operations_pb2_grpc.OperationsStub(mastering)

    async def track(self, source: Source, key: str) -> Heard:
        """What is in a stretch of a track; `key` names the attempt, so that asking repeats nothing.

        Raises `TrackTooShort`, `TrackSilent`, `AudioNotFound` and `DependencyUnavailable`.
        """
        beats, harmony = await asyncio.gather(self._beats(source, key), self._key(source, key))
        return _heard(source, beats, harmony)

    async def outcome(self, source: Source, key: str) -> Outcome:
        """What is in a whole that was made."""
        request = loudness_pb2.MeasureLoudnessRequest(
            audio=source.audio, request_id=_request_id(key, source.audio, "loudness")
        )
        heard, answer = await asyncio.gather(
            self.track(source, key),
            _answer(
                self._mastering.MeasureLoudness,
                self._measured,
                request,
                loudness_pb2.MeasureLoudnessResponse,
                "mastering",
            ),
        )
        loudness = answer.loudness
        return Outcome(heard, loudness.integrated_lufs, loudness.true_peak_dbtp)

    async def _beats(self, source: Source, key: str) -> beats_pb2.BeatTrack:
        request = beats_pb2.TrackBeatsRequest(
            audio=source.audio,
            span=_span(source),
            request_id=_request_id(key, source.audio, f"beats {source.start_frame}"),
        )
        answer = await _answer(
            self._analysis.TrackBeats,
            self._analysed,
            request,
            beats_pb2.TrackBeatsResponse,
            "analysis",
        )
        return answer.beats

    async def _key(self, source: Source, key: str) -> harmony_pb2.KeyTrack:
        request = harmony_pb2.DetectKeyRequest(
            audio=source.audio,
            span=_span(source),
            request_id=_request_id(key, source.audio, f"key {source.start_frame}"),
        )
        answer = await _answer(
            self._analysis.DetectKey,
            self._analysed,
            request,
            harmony_pb2.DetectKeyResponse,
            "analysis",
        )
        return answer.key


def _span(source: Source) -> audio_pb2.FrameSpan:
    return audio_pb2.FrameSpan(start_frame=source.start_frame, frame_count=source.frame_count)


def _heard(source: Source, beats: beats_pb2.BeatTrack, key: harmony_pb2.KeyTrack) -> Heard:
    """Moments are told in frames of the whole audio; here they count from the stretch's start."""
    moments = [(beat.frame - source.start_frame) / source.sample_rate_hz for beat in beats.beats]
    return Heard(
        duration_seconds=source.duration_seconds,
        beats_seconds=tuple(moments),
        strengths=tuple(beat.strength for beat in beats.beats),
        bpm=beats.bpm,
        key=key.key,
        bpm_confidence=beats.bpm_confidence,
        key_confidence=key.confidence,
        downbeat=next((at for at, beat in enumerate(beats.beats) if beat.is_downbeat), -1),
    )


async def _answer(
    start: Callable[..., "grpc.aio.UnaryUnaryCall[Message, operations_pb2.Operation]"],
    operations: operations_pb2_grpc.OperationsStub,
    request: Message,
    kind: type[A],
    dependency: str,
) -> A:
    """Starts an operation elsewhere and waits for its answer."""
    audio = str(getattr(request, "audio", ""))
    try:
        operation = await start(request, timeout=_ASK_SECONDS)
        while not operation.done:
            wait = operations_pb2.WaitOperationRequest(
                name=operation.name, timeout=duration_pb2.Duration(seconds=round(_WAIT_SECONDS))
            )
            operation = await operations.WaitOperation(wait, timeout=_ASK_SECONDS)
    except grpc.aio.AioRpcError as error:
        _raise(error_info(error), dependency, f"{error.code().name}: {error.details()}", audio)
    if operation.HasField("error"):
        _raise(_info(operation.error), dependency, operation.error.message, audio)
    answer = kind()
    operation.response.Unpack(answer)
    return answer


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            break
    return info


def _raise(info: error_details_pb2.ErrorInfo, dependency: str, detail: str, audio: str) -> NoReturn:
    """Raises what another service's refusal means to our caller."""
    told = info.metadata
    match info.reason:
        case "AUDIO_NOT_FOUND":
            raise AudioNotFound(audio)
        case "AUDIO_SILENT":
            raise TrackSilent(audio, told.get("peakDbfs", "-200.0"))
        case "AUDIO_TOO_SHORT":
            found, needed = told.get("frameCount", "0"), told.get("minimumFrameCount", "0")
            raise TrackTooShort(audio, int(found), int(needed))
        case _:
            raise DependencyUnavailable(dependency, f"{info.reason} {detail}")


def _request_id(key: str, audio: str, what: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{key} {audio} {what}"))
