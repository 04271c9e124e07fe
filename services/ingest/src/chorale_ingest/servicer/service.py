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
    reading_pb2,
    upload_pb2,
    usage_pb2,
)
from chorale_runtime import caller, pages
from chorale_runtime.positions import Positions
from chorale_runtime.refusals import CallForbidden
from chorale_runtime.spliced import Spliced

from chorale_ingest import messages, sounds
from chorale_ingest.engines import Engine
from chorale_ingest.servicer.making import Makers, MakingServicer, told
from chorale_ingest.sounds import digest_in
from chorale_ingest.store import reading
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.downloads import Downloads
from chorale_ingest.store.reading import Reader
from chorale_ingest.store.receiving import Chunk, Receiver, StreamOutOfOrder
from chorale_ingest.store.registering import Registrar
from chorale_ingest.store.removing import Remover
from chorale_ingest.store.uploads import Uploads
from chorale_ingest.tiers import QuotaExceeded, Tiers, over

HEARTBEAT_SECONDS = 15.0
HEAR_OUT_SECONDS, SILENCE_SECONDS = 2.0, 0.1
WATCH_SECONDS = 1.0
DELETIONS_AT_ONCE = 500
SERVICE = "/chorale.ingest.v1.IngestService/"

Context: TypeAlias = Any
Stream: TypeAlias = AsyncIterator[Any]


class IngestServicer(MakingServicer):
    """Answers IngestService: ways in, the catalogue, ways out. Holds no state of its own."""

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
        makers: Makers,
        positions: Positions,
        engines: tuple[Engine, ...],
    ) -> None:
        super().__init__(tiers, catalogue, makers)
        self._uploads = uploads
        self._receiver, self._reader, self._downloads = receiver, reader, downloads
        self._registrar, self._remover = registrar, remover
        self._positions, self._engines = positions, engines

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
        async with _heard_out(request_iterator):
            outcome = await self._receiver.receive(owner, tier, _chunks(request_iterator))
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
        return upload_pb2.FinishUploadResponse(audio=told(entry))

    async def PutAudio(
        self, request_iterator: Stream, context: Context
    ) -> upload_pb2.PutAudioResponse:
        """Stores a whole file in one stream."""
        owner, tier = self._who()
        first = await anext(request_iterator, None)
        if first is None:
            raise StreamOutOfOrder("a message with the file's first bytes")
        said = upload_pb2.AudioDetails(title=first.title)
        details = messages.details(first.file_name, said, tier, f"{SERVICE}PutAudio")

        async def data() -> AsyncIterator[bytes]:
            yield first.body.data
            async for request in request_iterator:
                yield request.body.data

        async with _heard_out(request_iterator):
            entry = await self._receiver.receive_whole(owner, tier, details, data())
        return upload_pb2.PutAudioResponse(audio=told(entry))

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
        return upload_pb2.RegisterAudioResponse(audio=told(entry))

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
        return audio_pb2.GetAudioResponse(audio=told(await self._entry(request.name)))

    async def ListAudio(
        self, request: audio_pb2.ListAudioRequest, context: Context
    ) -> audio_pb2.ListAudioResponse:
        """Lists the caller's audio, newest first."""
        owner, _ = self._who()
        wanted = messages.wanted_list(request)
        before = await self._positions.position(request.page_token, owner, wanted)
        size = pages.size(request.page_size)
        found = await self._catalogue.page(owner, wanted, before, size + 1)
        shown = found[:size]
        more = len(found) > size
        told_next = await self._positions.token(shown[-1].sequence, owner, wanted) if more else ""
        return audio_pb2.ListAudioResponse(
            audio=[told(entry) for entry in shown], next_page_token=told_next
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
        return audio_pb2.UpdateAudioResponse(audio=told(entry))

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
        return audio_pb2.KeepAudioResponse(audio=told(entry))

    async def DeleteAudio(
        self, request: audio_pb2.DeleteAudioRequest, context: Context
    ) -> audio_pb2.DeleteAudioResponse:
        """Deletes audio now, with everything derived from it."""
        owner, _ = self._who()
        gone = await self._remover.delete(owner, digest_in(request.name))
        return audio_pb2.DeleteAudioResponse(deleted=[sounds.audio_name(each) for each in gone])

    async def ReadFrames(
        self, request: reading_pb2.ReadFramesRequest, context: Context
    ) -> AsyncIterator[Spliced]:
        """Reads frames as PCM, in order."""
        entry = await self._entry(request.audio)
        plan = reading.plan(entry.sound, messages.wanted_frames(request))
        first: reading.Plan | None = plan
        async for piece in self._reader.frames(entry.sound, plan):
            yield messages.frames(piece, first)
            first = None

    async def ReadBytes(
        self, request: reading_pb2.ReadBytesRequest, context: Context
    ) -> AsyncIterator[Spliced]:
        """Reads the stored bytes of the original."""
        entry = await self._entry(request.audio)
        offset, size_bytes = request.offset_bytes, entry.sound.size_bytes
        if offset >= size_bytes:
            raise reading.SpanPastEnd(offset, size_bytes)
        key = self._downloads.original_key(entry.sound)
        told_size = size_bytes
        async for data in self._reader.raw(key, offset, request.length_bytes):
            told = reading_pb2.ReadBytesResponse(offset_bytes=offset, size_bytes=told_size)
            yield Spliced(told, "data", data)
            offset, told_size = offset + len(data), 0

    async def DownloadAudio(
        self, request: reading_pb2.DownloadAudioRequest, context: Context
    ) -> AsyncIterator[Spliced]:
        """Streams audio as a file."""
        entry = await self._entry(request.audio)
        if request.cover:
            file = self._downloads.cover(entry)
        else:
            wanted = messages.form_name(request.encoding)
            file = await self._downloads.file(entry, wanted)
        content_type = file.content_type
        async for data in file.chunks:
            yield messages.body(data, content_type)
            content_type = ""

    async def SignUrl(
        self, request: reading_pb2.SignUrlRequest, context: Context
    ) -> reading_pb2.SignUrlResponse:
        """Signs a URL under which anybody can download audio for a while."""
        entry = await self._entry(request.audio)
        lifetime = request.lifetime.seconds or self._downloads.lifetime_seconds
        name = messages.plain(request.file_name)
        if request.cover:
            url = self._downloads.sign_cover(entry, lifetime, name)
        else:
            wanted = messages.form_name(request.encoding)
            url = await self._downloads.sign(entry, wanted, lifetime, name)
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


async def _chunks(requests: Stream) -> AsyncIterator[Chunk]:
    """The chunks alone: the messages they came in would hold every byte a second time."""
    async for request in requests:
        taken = [messages.chunk(request)]
        del request
        yield taken.pop()


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


def _for_service() -> bool:
    return caller.current().is_service


def _services_only(rpc: str) -> None:
    if not caller.current().is_service:
        raise CallForbidden(f"{SERVICE}{rpc}", "services of the mesh")
