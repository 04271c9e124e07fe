"""The adapter: what FingerprintService is asked, and which operation does it."""

from collections.abc import Mapping

from chorale.fingerprint.v1 import (
    catalogue_pb2,
    fingerprint_service_pb2,
    listening_pb2,
    recordings_pb2,
)
from chorale_audio.failures import AUDIO_ERRORS
from chorale_audio.reader import AudioReader
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import Operations, Work
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from grpc import StatusCode

from chorale_fingerprint import engines, messages
from chorale_fingerprint.codes import LibraryMissing
from chorale_fingerprint.engines import Engine, EngineUnknown
from chorale_fingerprint.matching import MINIMUM_CODES, NotDistinctive, TooShort, require_length
from chorale_fingerprint.servicer.enrolling import DuplicateRejected
from chorale_fingerprint.servicer.patterns import PATTERN_ERRORS, PatternRules, PatternsServicer
from chorale_fingerprint.store.patterns import PatternStore
from chorale_fingerprint.store.recordings import Filter, Store
from chorale_fingerprint.store.similar import SimilarPatterns

ERRORS: ErrorTable = {
    **AUDIO_ERRORS,
    **PATTERN_ERRORS,
    TooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    NotDistinctive: (StatusCode.FAILED_PRECONDITION, "NOT_DISTINCTIVE"),
    DuplicateRejected: (StatusCode.ALREADY_EXISTS, "DUPLICATE_REJECTED"),
    messages.RecordingNotFound: (StatusCode.NOT_FOUND, "RECORDING_NOT_FOUND"),
    EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    LibraryMissing: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
}

SERVICE = "chorale.fingerprint.v1.FingerprintService"
ENROLL, IDENTIFY = f"{SERVICE}/Enroll", f"{SERVICE}/Identify"
COMPUTE_CHROMAPRINT = f"{SERVICE}/ComputeChromaprint"

Long = (
    recordings_pb2.EnrollRequest
    | recordings_pb2.IdentifyRequest
    | listening_pb2.ComputeChromaprintRequest
)


class FingerprintServicer(PatternsServicer):
    """Answers FingerprintService. Holds no music and no state of its own."""

    def __init__(
        self,
        reader: AudioReader,
        store: Store,
        known_engines: tuple[Engine, ...],
        operations: Operations,
        works: Mapping[str, Work],
        patterns: PatternStore,
        similar: SimilarPatterns,
        rules: PatternRules,
    ) -> None:
        super().__init__(patterns, similar, rules, known_engines)
        self._reader, self._store = reader, store
        self._operations, self._works = operations, works

    async def ListEngines(
        self, request: fingerprint_service_pb2.ListEnginesRequest, _: Context
    ) -> fingerprint_service_pb2.ListEnginesResponse:
        """Lists the engines of this service."""
        found = [each for each in self._engines if request.capability in ("", each.capability)]
        part = pages.page(found, request.page_size, request.page_token, request.capability)
        return fingerprint_service_pb2.ListEnginesResponse(
            engines=[messages.engine(each) for each in part.items],
            next_page_token=part.next_token,
        )

    async def Enroll(
        self, request: recordings_pb2.EnrollRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts enrolling, once all that can be known to be wrong was found right."""
        return await self._start(ENROLL, engines.IDENTIFY, request, recordings_pb2.EnrollResponse)

    async def Identify(
        self, request: recordings_pb2.IdentifyRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts identifying."""
        response = recordings_pb2.IdentifyResponse
        return await self._start(IDENTIFY, engines.IDENTIFY, request, response)

    async def ComputeChromaprint(
        self, request: listening_pb2.ComputeChromaprintRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts writing a fingerprint."""
        response = listening_pb2.ComputeChromaprintResponse
        return await self._start(COMPUTE_CHROMAPRINT, engines.CHROMAPRINT, request, response)

    async def GetRecording(
        self, request: catalogue_pb2.GetRecordingRequest, _: Context
    ) -> catalogue_pb2.GetRecordingResponse:
        """Reads one recording of the caller's."""
        owner, name = caller.current().principal, messages.recording_id(request.name)
        enrolled = None if name is None else await self._store.find(owner, name)
        if enrolled is None:
            raise messages.RecordingNotFound(request.name)
        return catalogue_pb2.GetRecordingResponse(recording=messages.enrolled(enrolled, owner))

    async def ListRecordings(
        self, request: catalogue_pb2.ListRecordingsRequest, _: Context
    ) -> catalogue_pb2.ListRecordingsResponse:
        """Lists the caller's recordings, newest first."""
        owner = caller.current().principal
        wanted = Filter(request.audio, request.text, request.section, request.song)
        before = pages.position(request.page_token, owner, wanted)
        count = pages.size(request.page_size)
        rows = await self._store.page(owner, wanted, before, count + 1)
        more = len(rows) > count
        return catalogue_pb2.ListRecordingsResponse(
            recordings=[messages.recording(row.recording, owner) for row in rows[:count]],
            next_page_token=pages.token(rows[count - 1].id, owner, wanted) if more else "",
        )

    async def DeleteRecording(
        self, request: catalogue_pb2.DeleteRecordingRequest, _: Context
    ) -> catalogue_pb2.DeleteRecordingResponse:
        """Deletes a recording with all that was made from it."""
        owner, name = caller.current().principal, messages.recording_id(request.name)
        if name is None or not await self._store.delete(owner, name):
            raise messages.RecordingNotFound(request.name)
        return catalogue_pb2.DeleteRecordingResponse()

    async def _start(
        self, method: str, capability: str, request: Long, response: type[Message]
    ) -> operations_pb2.Operation:
        engine = engines.choose(self._engines, capability, request.engine)
        if not engine.available:
            raise LibraryMissing(engine.name, engine.remedy)
        span = messages.span(request.span) if request.HasField("span") else None
        source = await self._reader.locate(request.audio, span)
        codes_needed = 1 if capability == engines.CHROMAPRINT else MINIMUM_CODES
        require_length(source.frame_count, source.sample_rate_hz, codes_needed)
        if request.validate_only:
            return messages.done(response(estimate=messages.estimate(engine, source)))
        return await self._operations.start(
            self._works[method], request, request_id=request.request_id, audio=[request.audio]
        )
