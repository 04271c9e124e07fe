"""The calls that make something of audio: cuts, previews, files in other encodings, imports."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from chorale.ingest.v1 import (
    audio_pb2,
    ingest_service_pb2_grpc,
    reading_pb2,
    upload_pb2,
)
from chorale_runtime import caller
from chorale_runtime.operations import Operations, Work
from chorale_runtime.spliced import Spliced
from google.longrunning import operations_pb2

from chorale_ingest import messages
from chorale_ingest.sounds import Entry, digest_in
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.cutting import Cutter
from chorale_ingest.store.importing import Importer
from chorale_ingest.store.previews import Previews
from chorale_ingest.tiers import Tier, Tiers

PREVIEW_CHUNK_BYTES = 256 << 10
SERVICE = "/chorale.ingest.v1.IngestService/"

Context: TypeAlias = Any


@dataclass(frozen=True)
class Makers:
    """Those who make."""

    cutter: Cutter
    previews: Previews
    importer: Importer
    operations: Operations
    export: Work


class MakingServicer(ingest_service_pb2_grpc.IngestServiceServicer):
    """Answers what makes; the rest of IngestService is built on it."""

    def __init__(self, tiers: Tiers, catalogue: Catalogue, makers: Makers) -> None:
        self._tiers, self._catalogue, self._makers = tiers, catalogue, makers

    async def CutAudio(
        self, request: audio_pb2.CutAudioRequest, context: Context
    ) -> audio_pb2.CutAudioResponse:
        """Cuts a span out as new named audio."""
        owner, tier = self._who()
        parent = await self._entry(request.name)
        cutter = self._makers.cutter
        start = request.span.start_frame
        count = cutter.check(parent.sound, start, request.span.frame_count, tier)
        claim = messages.cut_claim(request, parent, owner, tier, count)
        return audio_pb2.CutAudioResponse(audio=told(await cutter.cut(parent, start, count, claim)))

    async def GetPreview(
        self, request: reading_pb2.GetPreviewRequest, context: Context
    ) -> AsyncIterator[Spliced]:
        """Streams at most 15 s, faded."""
        entry = await self._entry(request.audio)
        start = request.span.start_frame if request.HasField("span") else None
        made = await self._makers.previews.preview(
            entry.sound, messages.form_name(request.encoding), start, request.span.frame_count
        )
        content_type = made.content_type
        for first in range(0, len(made.data), PREVIEW_CHUNK_BYTES):
            yield messages.body(made.data[first : first + PREVIEW_CHUNK_BYTES], content_type)
            content_type = ""

    async def ExportAudio(
        self, request: reading_pb2.ExportAudioRequest, context: Context
    ) -> operations_pb2.Operation:
        """Writes audio in another encoding."""
        entry = await self._entry(request.audio)
        return await self._makers.operations.start(
            self._makers.export, request, request.request_id, audio=[entry.name]
        )

    async def ImportObject(
        self, request: upload_pb2.ImportObjectRequest, context: Context
    ) -> upload_pb2.ImportObjectResponse:
        """Takes over an object of the mesh's own bucket."""
        owner, tier = self._who()
        opening = messages.importing(request, tier, f"{SERVICE}ImportObject")
        entry = await self._makers.importer.take(owner, tier, request.key, opening)
        return upload_pb2.ImportObjectResponse(audio=told(entry))

    def _who(self) -> tuple[str, Tier]:
        who = caller.current()
        return who.principal, self._tiers.of(who.tier)

    async def _entry(self, name: str) -> Entry:
        return await self._catalogue.find(caller.current().principal, digest_in(name))


def told(entry: Entry) -> audio_pb2.Audio:
    """An audio as this caller is told of it."""
    return messages.audio(entry, caller.current().is_service)
