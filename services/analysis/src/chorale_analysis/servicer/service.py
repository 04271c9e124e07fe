"""AnalysisService, adapted to gRPC."""

import asyncio
from collections.abc import Mapping
from typing import Any

from chorale.analysis.v1 import (
    analysis_service_pb2_grpc,
    beats_pb2,
    chords_pb2,
    dynamics_pb2,
    engines_pb2,
    harmony_pb2,
    structure_pb2,
)
from chorale_runtime.calls import Context
from chorale_runtime.operations import Job, Operations, Work, done
from chorale_runtime.pages import page
from chorale_runtime.processes import Processes
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from chorale_analysis import engines, messages
from chorale_analysis.servicer import analyzing, locate_calls, testing
from chorale_analysis.servicer.analyzing import ANALYZE
from chorale_analysis.servicer.editing import edit
from chorale_analysis.servicer.kinds import KINDS, Kind
from chorale_analysis.servicer.listening import Listening
from chorale_analysis.servicer.live_calls import LiveCalls
from chorale_analysis.servicer.live_rooms import LiveRooms
from chorale_analysis.servicer.locate_calls import LocateCalls, Locating
from chorale_analysis.servicer.lyrics_calls import LyricsCalls, LyricsDesk
from chorale_analysis.servicer.picture_calls import PictureCalls
from chorale_analysis.servicer.testing import TestingCalls


class AnalysisServicer(
    PictureCalls,
    LiveCalls,
    LyricsCalls,
    LocateCalls,
    TestingCalls,
    analysis_service_pb2_grpc.AnalysisServiceServicer,
):
    """Answers AnalysisService. Holds no music and no state of its own."""

    def __init__(
        self,
        listening: Listening,
        operations: Operations,
        works: Mapping[str, Work],
        live: LiveRooms,
        processes: Processes,
        lyrics: LyricsDesk,
        locating: Locating,
    ) -> None:
        self._listening, self._operations, self._works = listening, operations, works
        self._analyze = works[ANALYZE]
        self._live, self._processes, self._lyrics = live, processes, lyrics
        self._locating = locating

    async def ListEngines(
        self, request: engines_pb2.ListEnginesRequest, _: Context
    ) -> engines_pb2.ListEnginesResponse:
        """Lists the engines of this service."""
        found = [
            e for e in await self._listening.known() if request.capability in ("", e.capability)
        ]
        part = page(found, request.page_size, request.page_token, request.capability)
        return engines_pb2.ListEnginesResponse(
            engines=[messages.engine(engine) for engine in part.items],
            next_page_token=part.next_token,
        )

    async def TrackBeats(
        self, request: beats_pb2.TrackBeatsRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding beats."""
        return await self._start(KINDS[engines.BEATS], request)

    async def DetectKey(
        self, request: harmony_pb2.DetectKeyRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding the key."""
        return await self._start(KINDS[engines.KEY], request)

    async def RecognizeChords(
        self, request: chords_pb2.RecognizeChordsRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding chords."""
        return await self._start(KINDS[engines.CHORDS], request)

    async def Segment(
        self, request: structure_pb2.SegmentRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts finding sections."""
        return await self._start(KINDS[engines.STRUCTURE], request)

    async def MeasureDynamics(
        self, request: dynamics_pb2.MeasureDynamicsRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts measuring level and loudness."""
        return await self._start(KINDS[engines.DYNAMICS], request)

    async def EditChords(
        self, request: chords_pb2.EditChordsRequest, _: Context
    ) -> chords_pb2.EditChordsResponse:
        """Works on chords that the caller has."""
        return await asyncio.to_thread(edit, request)

    async def _start(self, kind: Kind, request: Any) -> operations_pb2.Operation:
        """Starts work, once all that can be known to be wrong was found right."""
        asked = await self._listening.asked(kind, request)
        kept = await self._listening.kept(asked)
        if request.validate_only:
            estimate = messages.estimate(asked.engine.name, asked.seconds, kept is not None)
            message: Any = kind.response
            return done(message(estimate=estimate))
        return await self._operations.start(
            self._works[kind.method],
            request,
            request_id=request.request_id,
            audio=[request.audio],
            answer=kept,
        )


class AnalysisWorks:
    """What the operations of this service do, once a worker has taken them up."""

    def __init__(self, listening: Listening, locating: Locating) -> None:
        self._listening, self._locating = listening, locating

    def all(self, queue: str, timeout_seconds: float) -> dict[str, Work]:
        """The long work of this service, by RPC."""
        works = [self.of(kind, queue, timeout_seconds) for kind in KINDS.values()]
        works.append(analyzing.work(self._listening, queue, timeout_seconds))
        works.append(testing.work(self._listening, queue, timeout_seconds))
        works.append(locate_calls.work(self._locating, queue, timeout_seconds))
        return {work.method: work for work in works}

    def of(self, kind: Kind, queue: str, timeout_seconds: float) -> Work:
        """The long work behind the RPC of one kind."""

        async def run(job: Job[Any]) -> Message:
            asked = await self._listening.asked(kind, job.request)
            answer: Message = (await self._listening.found(job.run, [asked]))[kind.capability]
            return answer

        return Work(
            method=kind.method,
            request=kind.request,
            response=kind.response,
            run=run,
            queue=queue,
            timeout_seconds=timeout_seconds,
        )
