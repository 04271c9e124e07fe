"""A span of audio as new named audio: the same samples, written as a WAV of its own."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator

from chorale_runtime.objects import Objects

from chorale_ingest import forms, overview, samples, sounds
from chorale_ingest.decoded import AudioTooLong
from chorale_ingest.sounds import Claim, Entry, ObjectsVanished, Sound
from chorale_ingest.store.casting import wave_file
from chorale_ingest.store.catalogue import Catalogue
from chorale_ingest.store.reading import SpanPastEnd, rechunked
from chorale_ingest.tiers import UNLIMITED, Tier

ATTEMPTS = 3


class AudioTooShort(Exception):
    """The span is shorter than the tier's least."""

    def __init__(self, frame_count: int, minimum_frame_count: int) -> None:
        super().__init__(frame_count, minimum_frame_count)
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count

    def __str__(self) -> str:
        return (
            f"The span has {self.frame_count} frames;"
            f" at least {self.minimum_frame_count} are needed."
        )


class Cutter:
    """Cuts."""

    def __init__(self, objects: Objects, catalogue: Catalogue) -> None:
        self._objects, self._catalogue = objects, catalogue

    def check(self, sound: Sound, start_frame: int, frame_count: int, tier: Tier) -> int:
        """Hold a span to the sound and the tier; returns how many frames it has."""
        if start_frame >= sound.frame_count or start_frame + frame_count > sound.frame_count:
            raise SpanPastEnd(max(start_frame, start_frame + frame_count), sound.frame_count)
        count = frame_count or sound.frame_count - start_frame
        least = tier.clip_seconds_min * sound.sample_rate_hz
        if count < least:
            raise AudioTooShort(count, least)
        if tier.clip_seconds != UNLIMITED and count > tier.clip_seconds * sound.sample_rate_hz:
            raise AudioTooLong(count / sound.sample_rate_hz, tier.clip_seconds)
        return count

    async def cut(self, parent: Entry, start_frame: int, frame_count: int, claim: Claim) -> Entry:
        """Make the frames their owner's audio."""
        for _ in range(ATTEMPTS):
            sound = await self._placed(parent.sound, start_frame, frame_count)
            try:
                return await self._catalogue.claim(sound, claim)
            except ObjectsVanished:
                continue
        raise ObjectsVanished

    async def _placed(self, parent: Sound, start_frame: int, frame_count: int) -> Sound:
        """Write the cut's objects under its digest, which is known once they are written."""
        form = forms.as_stored(parent)
        made = forms.cast(parent, form)
        staged = f"staging/cuts/{uuid.uuid4()}"
        building, digest, points = overview.Building(), hashlib.sha256(), []
        layout = parent.layout

        async def frames() -> AsyncIterator[bytes]:
            chunks = self._objects.read(
                sounds.pcm_key(parent.sha256),
                start_frame * layout.frame_bytes,
                frame_count * layout.frame_bytes,
            )
            async for chunk in rechunked(chunks, layout.frame_bytes << 16):
                await pcm.write(chunk)
                block = samples.unpacked(chunk, layout)
                points.append(await asyncio.to_thread(_points, building, block))
                yield chunk

        try:
            async with (
                self._objects.writer(f"{staged}/pcm") as pcm,
                self._objects.writer(f"{staged}/wav", form.content_type) as original,
            ):
                async for data in wave_file(frames(), layout.encoding, made, frame_count):
                    digest.update(data)
                    await original.write(data)
            points.append(b"".join(building.finish()))
            sha256 = digest.hexdigest()
            await self._catalogue.placing(sha256)
            await self._objects.copy(sounds.pcm_key(sha256), f"{staged}/pcm")
            await self._objects.copy(sounds.original_key(sha256), f"{staged}/wav")
            await self._objects.put(sounds.overview_key(sha256), b"".join(points))
        finally:
            await self._objects.delete_prefix(f"{staged}/")
        return Sound(
            sha256=sha256,
            size_bytes=original.size_bytes,
            container="wav",
            codec="pcm_f32le" if made.is_float else f"pcm_s{made.bit_depth}le",
            encoding=layout.encoding,
            sample_rate_hz=parent.sample_rate_hz,
            channel_count=parent.channel_count,
            frame_count=frame_count,
            bit_depth=made.bit_depth,
            bit_rate_bps=parent.sample_rate_hz * parent.channel_count * made.bit_depth,
            sample_peak=max(abs(building.least), abs(building.greatest)),
            embedded_tags={},
            warnings=(),
            has_original=True,
        )


def _points(building: overview.Building, block: samples.Samples) -> bytes:
    return b"".join(building.add(block))
