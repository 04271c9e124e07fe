"""The adapter: what FingerprintService is asked, and which operation does it."""

import time
from collections.abc import AsyncIterator, Mapping

from chorale.fingerprint.v1 import (
    catalogue_pb2,
    fingerprint_service_pb2,
    listening_pb2,
    recordings_pb2,
    similar_pb2,
)
from chorale_audio.failures import AUDIO_ERRORS
from chorale_audio.reader import AudioReader
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations import Operations, Work, done
from chorale_runtime.positions import Positions
from chorale_runtime.refusals import CallForbidden
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from grpc import StatusCode

from chorale_fingerprint import engines, messages
from chorale_fingerprint.codes import LibraryMissing, compressed
from chorale_fingerprint.engines import Engine, EngineUnknown
from chorale_fingerprint.layouts import layout_of
from chorale_fingerprint.matching import MINIMUM_CODES, NotDistinctive, TooShort, require_length
from chorale_fingerprint.servicer.acoust_id import (
    PROVIDER,
    AcoustId,
    ProviderNotConfigured,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from chorale_fingerprint.servicer.enrolling import DuplicateRejected
from chorale_fingerprint.servicer.patterns import PATTERN_ERRORS, PatternsServicer
from chorale_fingerprint.servicer.renewing import RenewalWorks
from chorale_fingerprint.servicer.rules import DuplicateRules
from chorale_fingerprint.servicer.stream_calls import StreamCalls, StreamOutOfOrder
from chorale_fingerprint.store.patterns import PatternStore
from chorale_fingerprint.store.recording_changes import RecordingChanger
from chorale_fingerprint.store.recordings import Enrolled, Filter, Store
from chorale_fingerprint.store.similar import SimilarPatterns
from chorale_fingerprint.store.songs import SongsOfRecordings
from chorale_fingerprint.tiers import Tiers
from chorale_fingerprint.worker import FramesTorn, NotFinite

ERRORS: ErrorTable = {
    **AUDIO_ERRORS,
    **PATTERN_ERRORS,
    TooShort: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    NotDistinctive: (StatusCode.FAILED_PRECONDITION, "NOT_DISTINCTIVE"),
    DuplicateRejected: (StatusCode.ALREADY_EXISTS, "DUPLICATE_REJECTED"),
    messages.RecordingNotFound: (StatusCode.NOT_FOUND, "RECORDING_NOT_FOUND"),
    EngineUnknown: (StatusCode.INVALID_ARGUMENT, "ENGINE_UNKNOWN"),
    StreamOutOfOrder: (StatusCode.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER"),
    ProviderNotConfigured: (StatusCode.FAILED_PRECONDITION, "PROVIDER_NOT_CONFIGURED"),
    ProviderUnavailable: (StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    ProviderRefused: (StatusCode.FAILED_PRECONDITION, "PROVIDER_REFUSED"),
    ProviderTimeout: (StatusCode.DEADLINE_EXCEEDED, "PROVIDER_TIMEOUT"),
    FramesTorn: (StatusCode.INVALID_ARGUMENT, "FRAMES_INVALID"),
    NotFinite: (StatusCode.INVALID_ARGUMENT, "FRAMES_INVALID"),
    LibraryMissing: (StatusCode.FAILED_PRECONDITION, "ENGINE_UNAVAILABLE"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
}

SERVICE = "chorale.fingerprint.v1.FingerprintService"
ENROLL, IDENTIFY = f"{SERVICE}/Enroll", f"{SERVICE}/Identify"
COMPUTE_CHROMAPRINT = f"{SERVICE}/ComputeChromaprint"
MONITOR = f"{SERVICE}/Monitor"
CHECK_DUPLICATES = f"{SERVICE}/CheckDuplicates"
REPORT_DUPLICATES = f"{SERVICE}/ReportDuplicates"
REINDEX_PATTERNS = f"{SERVICE}/ReindexPatterns"

Long = (
    recordings_pb2.EnrollRequest
    | recordings_pb2.IdentifyRequest
    | listening_pb2.ComputeChromaprintRequest
    | listening_pb2.MonitorRequest
    | catalogue_pb2.CheckDuplicatesRequest
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
        rules: DuplicateRules,
        streams: StreamCalls,
        songs: SongsOfRecordings,
        acoust_id: AcoustId,
        changer: RecordingChanger,
        renewals: RenewalWorks,
        tiers: Tiers,
        positions: Positions,
    ) -> None:
        super().__init__(patterns, similar, rules, known_engines, tiers, positions)
        self._reader, self._store = reader, store
        self._operations, self._works, self._streams = operations, works, streams
        self._songs, self._acoust_id, self._changer = songs, acoust_id, changer
        self._renewals = renewals

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

    async def Monitor(
        self, request: listening_pb2.MonitorRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts watching long sound."""
        response = listening_pb2.MonitorResponse
        return await self._start(MONITOR, engines.IDENTIFY, request, response)

    async def IdentifyStream(
        self, requests: AsyncIterator[listening_pb2.IdentifyStreamRequest], context: Context
    ) -> AsyncIterator[listening_pb2.IdentifyStreamResponse]:
        """Names a song while it plays."""
        async for answer in self._streams.identify(requests, context):
            yield answer

    async def MonitorStream(
        self, requests: AsyncIterator[listening_pb2.MonitorStreamRequest], context: Context
    ) -> AsyncIterator[listening_pb2.MonitorStreamResponse]:
        """Watches sound without end."""
        async for answer in self._streams.monitor(requests, context):
            yield answer

    async def CheckDuplicates(
        self, request: catalogue_pb2.CheckDuplicatesRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts looking for what is like it."""
        response = catalogue_pb2.CheckDuplicatesResponse
        return await self._start(CHECK_DUPLICATES, engines.IDENTIFY, request, response)

    async def ReportDuplicates(
        self, request: catalogue_pb2.ReportDuplicatesRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts comparing all of the caller's recordings."""
        engine = self._able(engines.IDENTIFY, request.engine)
        for audio in request.audio:
            await self._reader.locate(audio, None)
        if request.validate_only:
            owned = await self._songs.owned(caller.current().principal, list(request.audio))
            estimate = messages.estimate_report(engine, len(owned))
            response = catalogue_pb2.ReportDuplicatesResponse(estimate=estimate)
            return done(response)
        return await self._operations.start(
            self._works[REPORT_DUPLICATES], request, request_id=request.request_id
        )

    async def ReindexPatterns(
        self, request: similar_pb2.ReindexPatternsRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts indexing all patterns anew in another layout."""
        if not caller.current().is_service:
            raise CallForbidden(REINDEX_PATTERNS, "operators and services of the mesh")
        engine = self._able(engines.SIMILAR, request.engine)
        layout = layout_of(request.layout)
        if request.validate_only:
            return done(await self._renewals.estimate(layout, engine))
        return await self._operations.start(
            self._works[REINDEX_PATTERNS], request, request_id=request.request_id
        )

    async def LookUpAcoustId(
        self, request: listening_pb2.LookUpAcoustIdRequest, _: Context
    ) -> listening_pb2.LookUpAcoustIdResponse:
        """Asks AcoustID for an enrolled recording, or for a fingerprint."""
        started = time.monotonic()
        chromaprint, seconds = request.chromaprint, request.duration_seconds
        if request.recording:
            enrolled = await self._enrolled(request.recording)
            recording = enrolled.recording
            chromaprint = compressed(enrolled.codes)
            seconds = recording.frame_count / recording.sample_rate_hz
        found = await self._acoust_id.known(chromaprint, seconds, request.provider_key)
        return listening_pb2.LookUpAcoustIdResponse(
            matches=[listening_pb2.AcoustIdMatch(**vars(each)) for each in found],
            provenance=messages.asked_of(PROVIDER, time.monotonic() - started),
        )

    async def GetRecording(
        self, request: catalogue_pb2.GetRecordingRequest, _: Context
    ) -> catalogue_pb2.GetRecordingResponse:
        """Reads one recording of the caller's."""
        owner, enrolled = caller.current().principal, await self._enrolled(request.name)
        return catalogue_pb2.GetRecordingResponse(recording=messages.enrolled(enrolled, owner))

    async def ListRecordings(
        self, request: catalogue_pb2.ListRecordingsRequest, _: Context
    ) -> catalogue_pb2.ListRecordingsResponse:
        """Lists the caller's recordings, newest first."""
        owner = caller.current().principal
        wanted = Filter(request.audio, request.text, request.section, request.song)
        before = await self._positions.position(request.page_token, owner, wanted)
        count = pages.size(request.page_size)
        rows = await self._store.page(owner, wanted, before, count + 1)
        more = len(rows) > count
        return catalogue_pb2.ListRecordingsResponse(
            recordings=[messages.recording(row.recording, owner) for row in rows[:count]],
            next_page_token=(
                await self._positions.token(rows[count - 1].id, owner, wanted) if more else ""
            ),
        )

    async def UpdateRecording(
        self, request: catalogue_pb2.UpdateRecordingRequest, _: Context
    ) -> catalogue_pb2.UpdateRecordingResponse:
        """Changes what its owner says of a recording."""
        owner, name = caller.current().principal, messages.recording_id(request.recording.name)
        self._require_privacy(request.recording.privacy)
        wanted = messages.changes(request)
        if name is None or not await self._changer.update(owner, name, wanted):
            raise messages.RecordingNotFound(request.recording.name)
        enrolled = await self._enrolled(request.recording.name)
        return catalogue_pb2.UpdateRecordingResponse(recording=messages.enrolled(enrolled, owner))

    async def DeleteRecording(
        self, request: catalogue_pb2.DeleteRecordingRequest, _: Context
    ) -> catalogue_pb2.DeleteRecordingResponse:
        """Deletes a recording with all that was made from it."""
        owner, name = caller.current().principal, messages.recording_id(request.name)
        if name is None or not await self._store.delete(owner, name):
            raise messages.RecordingNotFound(request.name)
        return catalogue_pb2.DeleteRecordingResponse()

    async def _enrolled(self, name: str) -> Enrolled:
        owner, identity = caller.current().principal, messages.recording_id(name)
        enrolled = None if identity is None else await self._store.find(owner, identity)
        if enrolled is None:
            raise messages.RecordingNotFound(name)
        return enrolled

    def _able(self, capability: str, name: str) -> Engine:
        engine = engines.choose(self._engines, capability, name)
        if not engine.available:
            raise LibraryMissing(engine.name, engine.remedy)
        return engine

    async def _start(
        self, method: str, capability: str, request: Long, response: type[Message]
    ) -> operations_pb2.Operation:
        engine = self._able(capability, request.engine)
        span = messages.span(request.span) if request.HasField("span") else None
        source = await self._reader.locate(request.audio, span)
        codes_needed = 1 if capability == engines.CHROMAPRINT else MINIMUM_CODES
        require_length(source.frame_count, source.sample_rate_hz, codes_needed)
        if request.validate_only:
            return done(response(estimate=messages.estimate(engine, source)))
        return await self._operations.start(
            self._works[method], request, request_id=request.request_id, audio=[request.audio]
        )
