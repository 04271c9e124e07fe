"""The laws of an upload's stream, message by message."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import google_crc32c
from chorale_runtime.objects import ObjectNotFound

from chorale_ingest.sounds import AudioExists, Entry, audio_name
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.finishing import ChecksumMismatch, Finisher, UploadSizeMismatch
from chorale_ingest.store.staging import Staging, Writing
from chorale_ingest.store.uploads import Details, Part, Upload, Uploads, part_key, prefix
from chorale_ingest.tiers import AudioTooLarge, QuotaExceeded, Tier, over

# How long a stream may stay open after its last message before it is taken to have ended.
END_SECONDS = 2.0
HEARTBEAT_CHECK_SECONDS = 1.0
PUT_SECONDS_MAX = 604_800  # S3 signs for no longer


class UploadGap(Exception):
    """A chunk begins past what is stored."""

    def __init__(self, upload: str, offset_bytes: int, committed_bytes: int) -> None:
        super().__init__(upload, offset_bytes, committed_bytes)
        self.upload, self.offset_bytes = upload, offset_bytes
        self.committed_bytes = committed_bytes

    def __str__(self) -> str:
        return (
            f"A chunk begins at byte {self.offset_bytes}; {self.upload} holds"
            f" {self.committed_bytes}. Write on from there."
        )


class StreamOutOfOrder(Exception):
    """A message of a stream comes in the wrong order."""

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"A message came out of order: needed was {self.needed}."


@dataclass(frozen=True)
class Chunk:
    """One message of an upload's stream."""

    upload_id: str
    """Empty means the one of the first message."""
    offset_bytes: int
    data: bytes
    crc32c: int | None
    finish: bool


@dataclass(frozen=True)
class Opening:
    """What the caller announces of a file."""

    size_bytes: int | None
    sha256: str
    request_id: str
    request_digest: bytes
    details: Details


class Receiver:
    """Takes files in."""

    def __init__(
        self, uploads: Uploads, staging: Staging, catalogue: Catalogue, finisher: Finisher
    ) -> None:
        self._uploads, self._staging = uploads, staging
        self._catalogue, self._finisher = catalogue, finisher

    async def open(self, owner: str, tier: Tier, opening: Opening) -> Upload:
        """Start an upload, or find the one that this request started."""
        size_bytes = opening.size_bytes or 0
        if size_bytes > tier.upload_bytes:
            raise AudioTooLarge(size_bytes, tier.upload_bytes)
        known = await self._uploads.by_request(owner, opening.request_id)
        if known is None:
            await self._refuse_known(owner, opening.sha256)
            await self._refuse_full(owner, tier, size_bytes)
        return await self._uploads.start(
            owner,
            tier,
            opening.request_id,
            opening.request_digest,
            opening.size_bytes,
            opening.sha256,
            opening.details,
        )

    async def receive(self, owner: str, tier: Tier, chunks: AsyncIterator[Chunk]) -> Entry | int:
        """Run one stream; the audio if it finished, else how much is committed."""
        first = await anext(chunks, None)
        if first is None or not first.upload_id:
            raise StreamOutOfOrder("the upload's name in the first message")
        upload = await self._uploads.take(owner, first.upload_id)
        if upload.audio is not None:
            return await self._catalogue.find(owner, upload.audio)
        async with Writing(self._staging, upload) as writing:
            stream = _Stream(writing, self._uploads)
            finish = await stream.take(first) or await self._run(stream, chunks)
            await writing.flush()
            if not finish:
                return writing.committed_bytes
            await _at_end(chunks)
            upload = await self._uploads.get(owner, upload.upload_id)
            return await self._finisher.finish(upload, tier)

    async def receive_whole(
        self, owner: str, tier: Tier, details: Details, data: AsyncIterator[bytes]
    ) -> Entry:
        """Store a file of unknown size from one stream that cannot be resumed."""
        opening = Opening(None, "", str(uuid.uuid4()), b"", details)
        upload = await self.open(owner, tier, opening)
        upload = await self._uploads.take(owner, upload.upload_id)
        try:
            async with Writing(self._staging, upload) as writing:
                async for chunk in data:
                    if writing.received_bytes + len(chunk) > tier.upload_bytes:
                        size_bytes = writing.received_bytes + len(chunk)
                        raise AudioTooLarge(size_bytes, tier.upload_bytes)
                    if chunk:
                        await writing.write(chunk)
                await writing.flush()
                upload = await self._uploads.sized(upload, writing.committed_bytes)
                await self._refuse_full(owner, tier, writing.committed_bytes)
                return await self._finisher.finish(upload, tier)
        except BaseException:
            self._staging.later(self._finisher.abandon(upload))
            raise

    async def finish(self, owner: str, tier: Tier, upload_id: str) -> Entry:
        """Finish an upload whose bytes lie there already: written before, or PUT to its URL."""
        upload = await self._uploads.take(owner, upload_id)
        if upload.audio is not None:
            return await self._catalogue.find(owner, upload.audio)
        async with Writing(self._staging, upload):
            if upload.committed_bytes == 0:
                upload = await self._adopt(upload)
            return await self._finisher.finish(upload, tier)

    def put_url(self, upload: Upload) -> str:
        """Where the whole file may be PUT until the upload expires."""
        left = upload.expire_time - datetime.now(UTC)
        lifetime_seconds = max(1, min(int(left.total_seconds()), PUT_SECONDS_MAX))
        return self._staging.objects.sign_put(_put_key(upload), lifetime_seconds)

    async def _adopt(self, upload: Upload) -> Upload:
        """Take what was PUT for the upload's only part, out of reach of the URL's holder."""
        objects, source = self._staging.objects, _put_key(upload)
        try:
            size_bytes = (await objects.stat(source)).size_bytes
        except ObjectNotFound:
            size_bytes = 0
        if size_bytes != upload.size_bytes:
            raise UploadSizeMismatch(upload.name, upload.size_bytes or 0, size_bytes)
        key = part_key(upload, 0)
        copied = await objects.copy(key, source)
        await self._uploads.commit(upload, Part(0, copied.size_bytes, key))
        return await self._uploads.get(upload.owner, upload.upload_id)

    async def cancel(self, owner: str, upload_id: str) -> None:
        """Forget an unfinished upload; one that became audio has nothing left to forget."""
        upload = await self._uploads.get(owner, upload_id)
        if not upload.is_finished:
            await self._finisher.abandon(upload)

    async def _run(self, stream: "_Stream", chunks: AsyncIterator[Chunk]) -> bool:
        async for chunk in chunks:
            if await stream.take(chunk):
                return True
        return False

    async def _refuse_known(self, owner: str, sha256: str) -> None:
        if sha256 and await self._catalogue.owned(owner, [sha256]):
            raise AudioExists(audio_name(sha256))

    async def _refuse_full(self, owner: str, tier: Tier, size_bytes: int) -> None:
        stored = await self._catalogue.stored(owner)
        if over(stored.size_bytes + max(0, size_bytes - 1), tier.stored_bytes):
            raise QuotaExceeded("stored_bytes", tier.name, tier.stored_bytes)


class _Stream:
    """Holds each message of one stream to the laws."""

    def __init__(self, writing: Writing, uploads: Uploads) -> None:
        self._writing, self._uploads = writing, uploads
        self._upload = writing.upload
        self._checked_at = 0.0

    async def take(self, chunk: Chunk) -> bool:
        """Take one message; True when it is the last."""
        if chunk.upload_id not in ("", self._upload.upload_id):
            raise StreamOutOfOrder(f"{self._upload.name}, or no name, after the first message")
        if chunk.crc32c is not None:
            found = google_crc32c.value(chunk.data)  # 0.05 ms for 1 MiB
            if found != chunk.crc32c:
                raise ChecksumMismatch("chunk", f"{chunk.crc32c:08x}", f"{found:08x}")
        await self._write(chunk)
        return chunk.finish

    async def _write(self, chunk: Chunk) -> None:
        writing, size_bytes = self._writing, self._upload.size_bytes
        if not chunk.data:
            await self._heartbeat()
        if chunk.offset_bytes > writing.received_bytes:
            await writing.flush()
            raise UploadGap(self._upload.name, chunk.offset_bytes, writing.committed_bytes)
        end = chunk.offset_bytes + len(chunk.data)
        if size_bytes is not None and end > size_bytes:
            raise UploadSizeMismatch(self._upload.name, size_bytes, end)
        known = writing.received_bytes - chunk.offset_bytes
        if known < len(chunk.data):
            await writing.write(chunk.data[known:] if known else chunk.data)

    async def _heartbeat(self) -> None:
        """A silent stream learns from the row whether another replica's took over."""
        now = asyncio.get_running_loop().time()
        if now - self._checked_at > HEARTBEAT_CHECK_SECONDS:
            self._checked_at = now
            await self._uploads.check(self._upload)


async def _at_end(chunks: AsyncIterator[Chunk]) -> None:
    """Refuse what follows the last message; do not wait long for a client that just listens."""
    try:
        async with asyncio.timeout(END_SECONDS):
            more = await anext(chunks, None)
    except TimeoutError:
        return
    if more is not None:
        raise StreamOutOfOrder("the end of the stream after finish")


def _put_key(upload: Upload) -> str:
    return f"{prefix(upload.upload_id)}put"


def digest_of(request: bytes) -> bytes:
    """What tells a repeated request from another one under the same id."""
    return hashlib.sha256(request).digest()
