"""The call that says which section of its song a snippet is from."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from chorale.analysis.v1 import structure_pb2
from chorale.audio.v1 import audio_pb2
from chorale.ingest.v1 import audio_pb2 as ingest_audio_pb2
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_audio.answers import raise_typed
from chorale_audio.source import Source
from chorale_runtime.calls import Context
from chorale_runtime.operations import Job, Operations, Work, done
from google.longrunning import operations_pb2

from chorale_analysis import engines, messages, worker
from chorale_analysis.servicer.kinds import KINDS, SERVICE
from chorale_analysis.servicer.listening import Asked, Listening

LOCATE = f"{SERVICE}/LocateSection"
_LEAST_SECONDS = 1.0
_PRICE = 0.004  # CPU seconds per second of snippet and song, beside the song's sections
_ASK_SECONDS = 10.0

_Request = structure_pb2.LocateSectionRequest
_Response = structure_pb2.LocateSectionResponse


class Locating:
    """What a request to locate is about, and doing it."""

    def __init__(
        self, listening: Listening, ingest: ingest_service_pb2_grpc.IngestServiceStub
    ) -> None:
        self._listening, self._ingest = listening, ingest

    async def asked(self, request: _Request) -> "Sought":
        """Snippet, song and the song's sections, all that can be known to be wrong found right."""
        snippet = await self._listening.source(request)
        kind = KINDS[engines.STRUCTURE]
        engine = await self._listening.choose(
            kind.capability, request.engine, request.commercial_only
        )
        known: audio_pb2.FrameSpan | None = None
        name = request.song
        if not name:
            found = await self._described(request.audio)
            if len(found.parents) != 1:
                raise messages.SettingUnsupported(
                    "song", "", engine.name, "the name of a song: the snippet was cut from none"
                )
            name = found.parents[0]
            if found.HasField("parent_span"):
                start = found.parent_span.start_frame + snippet.start_frame
                count = snippet.frame_count
                known = audio_pb2.FrameSpan(start_frame=start, frame_count=count)
        song = await self._listening.source(_Whole(name))
        least = 0.0 if known is not None else _LEAST_SECONDS
        self._listening.require_seconds(snippet, least, "locating")
        await self._listening.require_length(song, engine, kind)
        settings = kind.settings(structure_pb2.SegmentSettings(), engine)
        return Sought(snippet, Asked(kind, engine, request.engine, song, settings), known)

    async def _described(self, audio: str) -> ingest_audio_pb2.Audio:
        request = ingest_audio_pb2.GetAudioRequest(name=audio)
        try:
            answer: Any = await self._ingest.GetAudio(request, timeout=_ASK_SECONDS)
            found: ingest_audio_pb2.Audio = answer.audio
            return found
        except grpc.aio.AioRpcError as error:
            raise_typed(error, audio)

    async def located(self, job: Job[_Request]) -> _Response:
        """Finds the place, and the section that holds most of it."""
        started, sought = time.monotonic(), await self.asked(job.request)
        song, span = sought.sections.source, sought.known
        if span is None:
            place = await job.run(worker.locate, sought.snippet, song)
            if place.is_sure:
                length = sought.snippet.duration_seconds
                span = messages.stretch(song, place.start_seconds, place.start_seconds + length)
        response = _Response(song=song.audio)
        if span is not None:
            answers = await self._listening.found(job.run, [sought.sections])
            heard: Any = answers[engines.STRUCTURE]
            response.song_span.CopyFrom(span)
            section = _holding(heard.structure.sections, span)
            if section is not None:
                response.section.CopyFrom(section)
        engine, asked = sought.sections.engine, sought.sections.requested
        told = messages.told(sought.sections.settings)
        seconds = time.monotonic() - started
        response.provenance.CopyFrom(messages.provenance(asked, engine, told, seconds))
        return response


@dataclass(frozen=True)
class Sought:
    """A snippet, the song that it may be from, and where it lies if that is on record."""

    snippet: Source
    sections: Asked
    known: audio_pb2.FrameSpan | None

    @property
    def seconds(self) -> float:
        """What it will take, about."""
        heard = self.snippet.duration_seconds + self.sections.source.duration_seconds
        return self.sections.seconds + (0.0 if self.known else heard * _PRICE)


@dataclass(frozen=True)
class _Whole:
    """Names all of an audio, as a request does."""

    audio: str

    def HasField(self, _: str) -> bool:
        return False


class LocateCalls:
    """Part of AnalysisService."""

    _locating: Locating
    _operations: Operations
    _works: Mapping[str, Work]

    async def LocateSection(self, request: _Request, _: Context) -> operations_pb2.Operation:
        """Starts finding the section that a snippet is from."""
        sought = await self._locating.asked(request)
        if request.validate_only:
            name = sought.sections.engine.name
            return done(_Response(estimate=messages.estimate(name, sought.seconds, False)))
        audio = list(dict.fromkeys([request.audio, sought.sections.source.audio]))
        return await self._operations.start(
            self._works[LOCATE], request, request_id=request.request_id, audio=audio
        )


def work(locating: Locating, queue: str, timeout_seconds: float) -> Work:
    """The long work behind LocateSection."""
    return Work(
        method=LOCATE,
        request=_Request,
        response=_Response,
        run=locating.located,
        queue=queue,
        timeout_seconds=timeout_seconds,
    )


def _holding(sections: Any, span: audio_pb2.FrameSpan) -> structure_pb2.Section | None:
    """The section that shares most frames with a span."""
    end = span.start_frame + span.frame_count

    def shared(section: structure_pb2.Section) -> int:
        last = section.span.start_frame + section.span.frame_count
        return max(0, min(end, last) - max(span.start_frame, section.span.start_frame))

    best = max(sections, key=shared, default=None)
    return best if best is not None and shared(best) > 0 else None
