"""Cover art, kept where its owner asked for it: read out by a confined process, stored as it is."""

import logging

from chorale_runtime.objects import Objects

from chorale_ingest import forms, sniffing
from chorale_ingest.sounds import cover_key
from chorale_ingest.store.sources import StoredFile
from chorale_ingest.worker.births import DecoderLost
from chorale_ingest.worker.encoders import Encoders, EncodingFailed

logger = logging.getLogger(__name__)


class Coverer:
    """Keeps covers."""

    def __init__(self, objects: Objects, encoders: Encoders) -> None:
        self._objects, self._encoders = objects, encoders

    async def keep(self, sha256: str, source: StoredFile) -> str:
        """Store the cover of a file; returns its media type, empty if the file has none."""
        try:
            picture = await self._picture(source)
        except EncodingFailed as error:  # the sound is fine, and worth more than its picture
            logger.warning("cover_lost", extra={"sha256": sha256, "why": str(error)})
            return ""
        media_type = sniffing.media_type(picture[: sniffing.HEAD_BYTES])
        if media_type not in forms.COVER_TYPES:  # looked at again: the child is not believed
            return ""
        await self._objects.put(cover_key(sha256), picture, content_type=media_type)
        return media_type

    async def _picture(self, source: StoredFile) -> bytes:
        try:
            return await self._encoders.encode(source, forms.COVER, _nothing)
        except DecoderLost:  # through no fault of the file: once more
            return await self._encoders.encode(source, forms.COVER, _nothing)


async def _nothing(_data: bytes) -> None:
    """A cover comes in one message, the last."""
