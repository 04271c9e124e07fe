"""IngestService, adapted: each RPC decodes, calls, encodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias

from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import (
    audio_pb2,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    reading_pb2,
    upload_pb2,
    usage_pb2,
)
from chorale_runtime import caller, pages
from chorale_runtime.errors import ErrorTable
from chorale_runtime.refusals import CallForbidden, NotServed
from google.api import httpbody_pb2
from grpc import StatusCode

from chorale_ingest import messages, sounds
from chorale_ingest.decoded import AudioTooLong, Undecodable
from chorale_ingest.engines import Engine
from chorale_ingest.sounds import Entry, digest_in
from chorale_ingest.store import reading
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.downloads import Downloads
from chorale_ingest.store.finishing import ChecksumMismatch, UploadSizeMismatch
from chorale_ingest.store.reading import Reader
from chorale_ingest.store.receiving import Receiver, StreamOutOfOrder, UploadGap
from chorale_ingest.store.registering import Registrar
from chorale_ingest.store.removing import Remover
from chorale_ingest.store.uploads import RequestIdReused, UploadContended, UploadNotFound, Uploads
from chorale_ingest.tiers import AudioTooLarge, QuotaExceeded, Tier, Tiers, over
from chorale_ingest.worker.decoders import QueueFull

ERRORS: ErrorTable = {
    sounds.AudioExists: (StatusCode.ALREADY_EXISTS, "AUDIO_EXISTS"),
    sounds.AudioNotFound: (StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND"),
    messages.PrivacyForbidden: (StatusCode.PERMISSION_DENIED, "CALL_FORBIDDEN"),
    AudioTooLarge: (StatusCode.RESOURCE_EXHAUSTED, "AUDIO_TOO_LARGE"),
    AudioTooLong: (StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LONG"),
    ChecksumMismatch: (StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
    QueueFull: (StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    QuotaExceeded: (StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    reading.SpanPastEnd: (StatusCode.OUT_OF_RANGE, "SPAN_PAST_END"),
    RequestIdReused: (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    StreamOutOfOrder: (StatusCode.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER"),
    Undecodable: (StatusCode.INVALID_ARGUMENT, "UNDECODABLE"),
    UploadContended: (StatusCode.ABORTED, "UPLOAD_CONTENDED"),
    UploadGap: (StatusCode.OUT_OF_RANGE, "UPLOAD_GAP"),
    UploadNotFound: (StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"),
    UploadSizeMismatch: (StatusCode.FAILED_PRECONDITION, "UPLOAD_SIZE_MISMATCH"),
}

HEARTBEAT_SECONDS = 15.0
HEAR_OUT_SECONDS, SILENCE_SECONDS = 2.0, 0.1
WATCH_SECONDS = 1.0
DELETIONS_AT_ONCE = 500
SERVICE = "/chorale.ingest.v1.IngestService/"

Context: TypeAlias = Any
Stream: TypeAlias = AsyncIterator[Any]


class IngestServicer(ingest_service_pb2_grpc.IngestServiceServicer):
    """Answers IngestService. Holds no music and no state of its own."""

    def __init__(
        self,
        tiers: Tiers,
        catalogue: Catalogue,
        remover: Remover,
        uploads: Uploads,
        receiver: Receiver,
        reader: Reader,
        downloads: Downloads,
        registrar: Registrar,
        engines: tuple[Engine, ...],
    ) -> None:
        self._tiers, self._catalogue, self._uploads = tiers, catalogue, uploads
        self._receiver, self._reader, self._downloads = receiver, reader, downloads
        self._registrar, self._remover, self._engines = registrar, remover, engines

    async def StartUpload(
        self, request: upload_pb2.StartUploadRequest, context: Context
    ) -> upload_pb2.StartUploadResponse:
        """Opens an upload."""
        owner, tier = self._who()
        opening = messages.opening(request, tier, f"{SERVICE}StartUpload")
        found = await self._receiver.open(owner, tier, opening)
        told = messages.upload(found)
        if request.signed_put and not found.is_finished:
            told.put_url = self._receiver.put_url(found)
        return upload_pb2.StartUploadResponse(upload=told)

    async def WriteUpload(
        self, request_iterator: Stream, context: Context
    ) -> upload_pb2.WriteUploadResponse:
        """Writes bytes to an upload."""
        owner, tier = self._who()
        chunks = (messages.chunk(request) async for request in request_iterator)
        async with _heard_out(request_iterator):
            outcome = await self._receiver.receive(owner, tier, chunks)
        return messages.written(outcome, _for_service())

    async def GetUpload(
        self, request: upload_pb2.GetUploadRequest, context: Context
    ) -> upload_pb2.GetUploadResponse:
        """Tells how an upload stands."""
        owner, _ = self._who()
        found = await self._uploads.get(owner, messages.upload_id(request.name))
        return upload_pb2.GetUploadResponse(upload=messages.upload(found))

    async def CancelUpload(
        self, request: upload_pb2.CancelUploadRequest, context: Context
    ) -> upload_pb2.CancelUploadResponse:
        """Forgets an unfinished upload."""
        owner, _ = self._who()
        await self._receiver.cancel(owner, messages.upload_id(request.name))
        return upload_pb2.CancelUploadResponse()

    async def FinishUpload(
        self, request: upload_pb2.FinishUploadRequest, context: Context
    ) -> upload_pb2.FinishUploadResponse:
        """Finishes an upload that was PUT to its signed URL."""
        owner, tier = self._who()
        entry = await self._receiver.finish(owner, tier, messages.upload_id(request.name))
        return upload_pb2.FinishUploadResponse(audio=_told(entry))

    async def PutAudio(
        self, request_iterator: Stream, context: Context
    ) -> upload_pb2.PutAudioResponse:
        """Stores a whole file in one stream."""
        owner, tier = self._who()
        first = await anext(request_iterator, None)
        if first is None:
            raise StreamOutOfOrder("a message with the file's first bytes")
        told = upload_pb2.AudioDetails(title=first.title)
        details = messages.details(first.file_name, told, tier, f"{SERVICE}PutAudio")

        async def data() -> AsyncIterator[bytes]:
            yield first.body.data
            async for request in request_iterator:
                yield request.body.data

        async with _heard_out(request_iterator):
            entry = await self._receiver.receive_whole(owner, tier, details, data())
        return upload_pb2.PutAudioResponse(audio=_told(entry))

    async def RegisterAudio(
        self, request: upload_pb2.RegisterAudioRequest, context: Context
    ) -> upload_pb2.RegisterAudioResponse:
        """Makes sound that a service made named audio."""
        _services_only("RegisterAudio")
        _, tier = self._who()
        claim = messages.registered(request, tier, f"{SERVICE}RegisterAudio")
        entry = await self._registrar.register(
            claim,
            request.sha256,
            request.format.sample_rate_hz,
            request.format.channel_count,
            request.frame_count,
        )
        return upload_pb2.RegisterAudioResponse(audio=_told(entry))

    async def FindMissing(
        self, request: upload_pb2.FindMissingRequest, context: Context
    ) -> upload_pb2.FindMissingResponse:
        """Tells which digests the caller has not stored."""
        owner, _ = self._who()
        owned = await self._catalogue.owned(owner, request.sha256)
        missing = [digest for digest in request.sha256 if digest not in owned]
        return upload_pb2.FindMissingResponse(sha256=missing)

    async def GetAudio(
        self, request: audio_pb2.GetAudioRequest, context: Context
    ) -> audio_pb2.GetAudioResponse:
        """Describes one audio."""
        return audio_pb2.GetAudioResponse(audio=_told(await self._entry(request.name)))

    async def ListAudio(
        self, request: audio_pb2.ListAudioRequest, context: Context
    ) -> audio_pb2.ListAudioResponse:
        """Lists the caller's audio, newest first."""
        owner, _ = self._who()
        wanted = messages.wanted_list(request)
        before = pages.position(request.page_token, owner, wanted)
        size = pages.size(request.page_size)
        found = await self._catalogue.page(owner, wanted, before, size + 1)
        shown = found[:size]
        more = len(found) > size
        return audio_pb2.ListAudioResponse(
            audio=[_told(entry) for entry in shown],
            next_page_token=pages.token(shown[-1].sequence, owner, wanted) if more else "",
        )

    async def UpdateAudio(
        self, request: audio_pb2.UpdateAudioRequest, context: Context
    ) -> audio_pb2.UpdateAudioResponse:
        """Changes title, tags or privacy."""
        owner, tier = self._who()
        paths = set(request.update_mask.paths)
        is_private = None
        if "privacy" in paths:
            is_private = messages.is_private(request.privacy, tier, f"{SERVICE}UpdateAudio")
        entry = await self._catalogue.update(
            owner,
            digest_in(request.name),
            title=messages.plain(request.title) if "title" in paths else None,
            tags=messages.unique(request.tags) if "tags" in paths else None,
            is_private=is_private,
        )
        return audio_pb2.UpdateAudioResponse(audio=_told(entry))

    async def KeepAudio(
        self, request: audio_pb2.KeepAudioRequest, context: Context
    ) -> audio_pb2.KeepAudioResponse:
        """Keeps audio past its expiry, or lets it expire again."""
        owner, tier = self._who()
        kept = (await self._catalogue.stored(owner)).kept_count
        if not request.release and over(kept, tier.kept_audio):
            entry = await self._catalogue.find(owner, digest_in(request.name))
            if entry.owner != owner or entry.expire_time is not None:
                raise QuotaExceeded("kept_audio", tier.name, tier.kept_audio)
        entry = await self._catalogue.keep(owner, digest_in(request.name), not request.release)
        return audio_pb2.KeepAudioResponse(audio=_told(entry))

    async def DeleteAudio(
        self, request: audio_pb2.DeleteAudioRequest, context: Context
    ) -> audio_pb2.DeleteAudioResponse:
        """Deletes audio now, with everything derived from it."""
        owner, _ = self._who()
        gone = await self._remover.delete(owner, digest_in(request.name))
        return audio_pb2.DeleteAudioResponse(deleted=[sounds.audio_name(each) for each in gone])

    async def ReadFrames(
        self, request: reading_pb2.ReadFramesRequest, context: Context
    ) -> AsyncIterator[reading_pb2.ReadFramesResponse]:
        """Reads frames as PCM, in order."""
        entry = await self._entry(request.audio)
        plan = reading.plan(entry.sound, messages.wanted_frames(request))
        first: reading.Plan | None = plan
        async for piece in self._reader.frames(entry.sound, plan):
            yield messages.frames(piece, first)
            first = None

    async def ReadBytes(
        self, request: reading_pb2.ReadBytesRequest, context: Context
    ) -> AsyncIterator[reading_pb2.ReadBytesResponse]:
        """Reads the stored bytes of the original."""
        entry = await self._entry(request.audio)
        offset, size_bytes = request.offset_bytes, entry.sound.size_bytes
        if offset >= size_bytes:
            raise reading.SpanPastEnd(offset, size_bytes)
        key = self._downloads.original_key(entry.sound)
        told_size = size_bytes
        async for data in self._reader.raw(key, offset, request.length_bytes):
            yield reading_pb2.ReadBytesResponse(
                offset_bytes=offset, data=data, size_bytes=told_size
            )
            offset, told_size = offset + len(data), 0

    async def DownloadAudio(
        self, request: reading_pb2.DownloadAudioRequest, context: Context
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Streams audio as a file."""
        entry = await self._entry(request.audio)
        wanted = reading_pb2.Encoding.Name(request.encoding).removeprefix("ENCODING_").lower()
        content_type, chunks = self._downloads.file(entry.sound, wanted)
        if chunks is None:
            raise NotServed(f"{SERVICE}DownloadAudio as {wanted}")
        async for data in chunks:
            yield messages.body(data, content_type)
            content_type = ""

    async def SignUrl(
        self, request: reading_pb2.SignUrlRequest, context: Context
    ) -> reading_pb2.SignUrlResponse:
        """Signs a URL under which anybody can download audio for a while."""
        entry = await self._entry(request.audio)
        if request.encoding or not entry.sound.has_original:
            raise NotServed(f"{SERVICE}SignUrl of another encoding than the original")
        lifetime = request.lifetime.seconds or self._downloads.lifetime_seconds
        name = messages.plain(request.file_name) or entry.file_name
        url = self._downloads.sign(entry.sound, lifetime, name)
        return messages.signed(url, lifetime, datetime.now(UTC))

    async def GetOverview(
        self, request: reading_pb2.GetOverviewRequest, context: Context
    ) -> reading_pb2.GetOverviewResponse:
        """Returns the waveform overview."""
        entry = await self._entry(request.audio)
        span = reading.Wanted(request.span.start_frame, request.span.frame_count)
        plan = reading.plan(entry.sound, span)
        drawn = await self._reader.picture(
            entry.sound, plan.start_frame, plan.end_frame, request.point_count or 1000
        )
        return messages.picture(drawn)

    async def GetUsage(
        self, request: usage_pb2.GetUsageRequest, context: Context
    ) -> usage_pb2.GetUsageResponse:
        """Returns the caller's tier, its limits and what is used of them."""
        owner, tier = self._who()
        used = await self._uploads.today(owner)
        stored = await self._catalogue.stored(owner)
        return messages.usage(owner, tier, used, stored, datetime.now(UTC))

    async def WatchDeletions(
        self, request: usage_pb2.WatchDeletionsRequest, context: Context
    ) -> AsyncIterator[usage_pb2.WatchDeletionsResponse]:
        """Streams what was deleted or expired."""
        _services_only("WatchDeletions")
        after, silent_seconds = request.after_sequence, 0.0
        while True:
            gone = await self._remover.deletions(after, DELETIONS_AT_ONCE)
            for deletion in gone:
                yield messages.deletion(deletion)
                after, silent_seconds = deletion.sequence, 0.0
            if len(gone) == DELETIONS_AT_ONCE:
                continue
            if silent_seconds >= HEARTBEAT_SECONDS:
                yield usage_pb2.WatchDeletionsResponse()
                silent_seconds = 0.0
            await asyncio.sleep(WATCH_SECONDS)
            silent_seconds += WATCH_SECONDS

    async def ListEngines(
        self, request: ingest_service_pb2.ListEnginesRequest, context: Context
    ) -> ingest_service_pb2.ListEnginesResponse:
        """Lists the decoders and encoders, as engines."""
        return ingest_service_pb2.ListEnginesResponse(
            engines=[
                engine_pb2.Engine(
                    name=engine.name,
                    capability=engine.capability,
                    version=engine.version,
                    code_licence=engine.code_licence,
                    commercial_use=True,
                    available=True,
                    devices=["cpu"],
                    is_default=True,
                    description=engine.description,
                    vocabularies=engine.vocabularies,
                )
                for engine in self._engines
                if request.capability in ("", engine.capability)
            ]
        )

    def _who(self) -> tuple[str, Tier]:
        who = caller.current()
        return who.principal, self._tiers.of(who.tier)

    async def _entry(self, name: str) -> Entry:
        return await self._catalogue.find(caller.current().principal, digest_in(name))


@asynccontextmanager
async def _heard_out(requests: Stream) -> AsyncIterator[None]:
    """Let a client that is still sending finish, for a while, before it is told an error.

    Python's gRPC client takes the failure of a write for the call's own status (INTERNAL), and
    a third of the errors sent in the middle of its stream never reached it.
    """
    try:
        yield
    except Exception:
        with suppress(Exception):
            async with asyncio.timeout(HEAR_OUT_SECONDS):
                while True:
                    await asyncio.wait_for(anext(requests), SILENCE_SECONDS)
        raise


def _told(entry: Entry) -> audio_pb2.Audio:
    return messages.audio(entry, _for_service())


def _for_service() -> bool:
    return caller.current().is_service


def _services_only(rpc: str) -> None:
    if not caller.current().is_service:
        raise CallForbidden(f"{SERVICE}{rpc}", "services of the mesh")
