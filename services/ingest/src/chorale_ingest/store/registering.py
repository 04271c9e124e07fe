"""Sound that a service of the mesh made, checked once and then named audio like any other."""

import asyncio
import hashlib

from chorale_runtime.objects import ObjectNotFound, Objects

from chorale_ingest import overview, samples
from chorale_ingest.decoded import Undecodable
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.sounds import (
    Claim,
    Entry,
    ObjectsVanished,
    Sound,
    overview_key,
    pcm_key,
)
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.finishing import ChecksumMismatch, UploadSizeMismatch

SAMPLE_BYTES = {encoding.sample_bytes: encoding for encoding in Encoding}


class Registrar:
    """Names what makers wrote."""

    def __init__(self, objects: Objects, catalogue: Catalogue) -> None:
        self._objects, self._catalogue = objects, catalogue

    async def register(
        self, claim: Claim, sha256: str, sample_rate_hz: int, channel_count: int, frame_count: int
    ) -> Entry:
        """Make the PCM object of this digest its owner's audio."""
        for parent in claim.parents:
            await self._catalogue.find(claim.owner, parent)
        sound = await self._catalogue.sound(sha256)
        if sound is None:
            sound = await self._checked(sha256, sample_rate_hz, channel_count, frame_count)
        elif (sound.channel_count, sound.frame_count) != (channel_count, frame_count):
            # The same bytes, as of digital silence, can be two sounds; the name is taken.
            raise UploadSizeMismatch(
                pcm_key(sha256),
                frame_count * channel_count * sound.encoding.sample_bytes,
                sound.size_bytes,
            )
        try:
            return await self._catalogue.claim(sound, claim)
        except ObjectsVanished:
            raise UploadSizeMismatch(pcm_key(sha256), sound.size_bytes, 0) from None

    async def _checked(
        self, sha256: str, sample_rate_hz: int, channel_count: int, frame_count: int
    ) -> Sound:
        await self._catalogue.placing(sha256)
        layout, size_bytes = await self._layout(sha256, channel_count, frame_count)
        made = await self._measured(sha256, layout)
        return Sound(
            sha256=sha256,
            size_bytes=size_bytes,
            container="pcm",
            codec=f"pcm_{layout.encoding.value}",
            encoding=layout.encoding,
            sample_rate_hz=sample_rate_hz,
            channel_count=channel_count,
            frame_count=frame_count,
            bit_depth=8 * layout.encoding.sample_bytes,
            bit_rate_bps=sample_rate_hz * layout.frame_bytes * 8,
            sample_peak=max(abs(made.least), abs(made.greatest)),
            embedded_tags={},
            warnings=(),
            has_original=False,
        )

    async def _layout(
        self, sha256: str, channel_count: int, frame_count: int
    ) -> tuple[Layout, int]:
        """Tell 16-bit from float PCM by its size, which must be one of the two."""
        samples_in_all = frame_count * channel_count
        try:
            size_bytes = (await self._objects.stat(pcm_key(sha256))).size_bytes
        except ObjectNotFound:
            size_bytes = 0
        encoding = SAMPLE_BYTES.get(size_bytes // samples_in_all)
        if encoding is None or size_bytes % samples_in_all:
            raise UploadSizeMismatch(
                pcm_key(sha256), samples_in_all * Encoding.F32LE.sample_bytes, size_bytes
            )
        return Layout(encoding, channel_count), size_bytes

    async def _measured(self, sha256: str, layout: Layout) -> overview.Building:
        """Read it once: the digest must be true, every sample finite; the overview is made."""
        building, digest, points, rest = overview.Building(), hashlib.sha256(), [], b""
        async for chunk in self._objects.read(pcm_key(sha256)):
            data = rest + chunk
            whole = len(data) - len(data) % layout.frame_bytes
            rest = data[whole:]
            digest.update(chunk)
            block = samples.unpacked(data[:whole], layout)
            points.append(await asyncio.to_thread(_points, building, block))
        points.append(b"".join(building.finish()))
        if digest.hexdigest() != sha256:
            raise ChecksumMismatch("whole", sha256, digest.hexdigest())
        if not max(abs(building.least), abs(building.greatest)) <= samples.SAMPLE_MAX:
            raise Undecodable("audio/pcm", "it holds samples that are no finite sound")
        await self._objects.put(overview_key(sha256), b"".join(points))
        return building


def _points(building: overview.Building, block: samples.Samples) -> bytes:
    return b"".join(building.add(block))
