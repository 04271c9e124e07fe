"""From a whole upload to named audio: digest, decode once, put everything in its place.

Every step may be repeated, and none before the last is seen by anybody: objects are put
under the digest's keys first, then one transaction claims them. Whoever dies in between
leaves an entry in the garbage table, or an open upload that can be finished again.
"""

import asyncio
import logging
from collections.abc import Sequence
from weakref import WeakValueDictionary

from chorale_runtime.objects import ObjectNotFound, Objects, Writer

from chorale_ingest import sounds
from chorale_ingest.decoded import AudioTooLong, Decoded, Undecodable
from chorale_ingest.samples import Encoding
from chorale_ingest.sounds import Claim, Entry, ObjectsVanished, Places, Sound
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.covering import Coverer
from chorale_ingest.store.sources import Segment, StoredFile
from chorale_ingest.store.staging import Staging
from chorale_ingest.store.uploads import Part, Upload, UploadNotFound, Uploads, prefix
from chorale_ingest.tiers import Tier
from chorale_ingest.worker.births import DecoderLost
from chorale_ingest.worker.decoders import Decoders

logger = logging.getLogger(__name__)

CLAIM_ATTEMPTS = 3


class UploadSizeMismatch(Exception):
    """The upload holds more, or at its finish fewer, bytes than announced."""

    def __init__(self, upload: str, size_bytes: int, committed_bytes: int) -> None:
        super().__init__(upload, size_bytes, committed_bytes)
        self.upload, self.size_bytes, self.committed_bytes = upload, size_bytes, committed_bytes

    def __str__(self) -> str:
        return (
            f"{self.upload} was announced with {self.size_bytes} bytes;"
            f" it holds {self.committed_bytes}."
        )


class ChecksumMismatch(Exception):
    """A chunk or the whole is not what its checksum says."""

    def __init__(self, of: str, expected: str, found: str) -> None:
        super().__init__(of, expected, found)
        self.of, self.expected, self.found = of, expected, found

    def __str__(self) -> str:
        return f"The checksum of the {self.of} is {self.found}; {self.expected} was announced."


class Finisher:
    """Turns uploads into audio."""

    def __init__(
        self,
        objects: Objects,
        uploads: Uploads,
        staging: Staging,
        catalogue: Catalogue,
        decoders: Decoders,
        coverer: Coverer,
    ) -> None:
        self._objects, self._uploads, self._staging = objects, uploads, staging
        self._catalogue, self._decoders, self._coverer = catalogue, decoders, coverer
        # Of the same bytes at the same time, one is decoded and the owner's others find it done.
        self._making: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def finish(self, upload: Upload, tier: Tier) -> Entry:
        """Make an upload, all of whose bytes are committed, its owner's audio."""
        if upload.committed_bytes != upload.size_bytes:
            raise UploadSizeMismatch(upload.name, upload.size_bytes or 0, upload.committed_bytes)
        parts = await self._uploads.parts(upload.upload_id)
        source = StoredFile(self._objects, [Segment(**vars(part)) for part in parts])
        try:
            sha256 = await self._digest(upload, source)
            # Of one owner: another's wait would tell that somebody stores the same.
            lock = self._making.setdefault((upload.owner, sha256), asyncio.Lock())
            async with lock:
                entry = await self._claim(upload, sha256, source, parts, tier)
        except (ChecksumMismatch, Undecodable, AudioTooLong):
            await self.abandon(upload)
            raise
        except ObjectNotFound as gone:  # it expired or was cancelled meanwhile, and its parts went
            raise UploadNotFound(upload.name) from gone
        finally:
            await source.close()
        await self._uploads.finish(upload, sha256)
        self._staging.forget(upload.upload_id)
        self._staging.later(self._clean(upload.upload_id))
        return entry

    async def abandon(self, upload: Upload) -> None:
        """End an upload that cannot become audio, and remove what it stored."""
        await self._uploads.kill(upload.upload_id)
        self._staging.forget(upload.upload_id)
        self._staging.later(self._clean(upload.upload_id))

    async def _digest(self, upload: Upload, source: StoredFile) -> str:
        kept = self._staging.digested(upload)
        whole = kept.size_bytes == upload.committed_bytes
        sha256: str = kept.state.hexdigest() if whole else await source.sha256()
        if upload.sha256 and upload.sha256 != sha256:
            raise ChecksumMismatch("whole", upload.sha256, sha256)
        return sha256

    async def _claim(
        self, upload: Upload, sha256: str, source: StoredFile, parts: Sequence[Part], tier: Tier
    ) -> Entry:
        claimed = bool(await self._catalogue.owned(upload.owner, [sha256]))
        for _ in range(CLAIM_ATTEMPTS):
            sound = await self._catalogue.sound(sha256)
            if sound is None:
                sound = await self._make(sha256, source, parts, tier, sounds.places(sha256))
            elif not claimed:
                # Somebody else has it: nobody learns that by the time it takes, or by the load.
                # The same work is done once more, into what goes with the upload.
                apart = sounds.places_under(f"{prefix(upload.upload_id)}again")
                await self._make(sha256, source, parts, tier, apart)
            elif sound.duration_seconds > tier.duration_seconds:
                raise AudioTooLong(sound.duration_seconds, tier.duration_seconds)
            claimed = True
            cover_type = await self._covered(upload, sha256, source)
            try:
                return await self._catalogue.claim(sound, _claim_of(upload, sound, cover_type))
            except ObjectsVanished:
                logger.info("objects_vanished", extra={"sha256": sha256})
        raise ObjectsVanished

    async def _covered(self, upload: Upload, sha256: str, source: StoredFile) -> str:
        if not upload.details.keep_cover:
            return ""
        await self._catalogue.placing(sha256)
        return await self._coverer.keep(sha256, source)

    async def _make(
        self,
        sha256: str,
        source: StoredFile,
        parts: Sequence[Part],
        tier: Tier,
        places: Places,
    ) -> Sound:
        await self._catalogue.placing(sha256)
        try:
            decoded, points = await self._decode(places, source, tier)
        except DecoderLost as lost:  # through no fault of the file: once more
            logger.warning("decoder_lost", extra={"sha256": sha256, "why": lost.detail})
            decoded, points = await self._decode(places, source, tier)
        await self._objects.put(places.overview, b"".join(points))
        await self._objects.compose(places.original, [part.key for part in parts])
        return _sound(sha256, source.size_bytes, decoded)

    async def _decode(
        self, places: Places, source: StoredFile, tier: Tier
    ) -> tuple[Decoded, list[bytes]]:
        points: list[bytes] = []
        async with self._objects.writer(places.pcm) as pcm:
            sink = _Sink(pcm, points)
            return await self._decoders.decode(source, sink, tier.duration_seconds), points

    async def _clean(self, upload_id: str) -> None:
        try:
            await self._uploads.clean(upload_id)
        except Exception as error:  # the sweep comes back to it
            logger.info("clean_postponed", extra={"upload": upload_id, "why": str(error)})


class _Sink:
    """Passes what a decoder makes on to object storage."""

    def __init__(self, writer: Writer, points: list[bytes]) -> None:
        self._writer, self._points = writer, points

    async def pcm(self, data: bytes) -> None:
        await self._writer.write(data)

    async def points(self, data: bytes) -> None:
        self._points.append(data)


def _sound(sha256: str, size_bytes: int, decoded: Decoded) -> Sound:
    duration_seconds = decoded.frame_count / decoded.sample_rate_hz
    return Sound(
        sha256=sha256,
        size_bytes=size_bytes,
        container=decoded.container,
        codec=decoded.codec,
        encoding=Encoding(decoded.encoding),
        sample_rate_hz=decoded.sample_rate_hz,
        channel_count=decoded.channel_count,
        frame_count=decoded.frame_count,
        bit_depth=decoded.bit_depth,
        # Measured, not believed: headers lie.
        bit_rate_bps=round(size_bytes * 8 / duration_seconds),
        sample_peak=decoded.sample_peak,
        embedded_tags=decoded.tags,
        warnings=decoded.warnings,
        has_original=True,
    )


def _claim_of(upload: Upload, sound: Sound, cover_type: str) -> Claim:
    details = upload.details
    return Claim(
        owner=upload.owner,
        file_name=details.file_name,
        title=details.title or sound.embedded_tags.get("title", "")[:200] or details.file_name,
        tags=details.tags,
        is_private=details.is_private,
        cover_type=cover_type,
    )
