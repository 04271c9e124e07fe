"""At most 15 s of a sound for listening: the passage asked for or the loudest, faded."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from chorale_ingest import fading, forms
from chorale_ingest.samples import Encoding, Layout, unpacked
from chorale_ingest.sounds import Sound
from chorale_ingest.store.casting import Caster, wave_file
from chorale_ingest.store.reading import Plan, Reader, Wanted, plan

PREVIEW_SECONDS = 15
FADE_SECONDS = 0.5


@dataclass(frozen=True)
class Preview:
    """A whole small file."""

    content_type: str
    data: bytes


class Previews:
    """Makes previews."""

    def __init__(self, reader: Reader, caster: Caster) -> None:
        self._reader, self._caster = reader, caster

    async def preview(
        self, sound: Sound, encoding: str, start_frame: int | None, frame_count: int
    ) -> Preview:
        """A preview from a frame on, or of the loudest passage if none is given."""
        form = forms.FORMS["mp3" if encoding == "unspecified" else encoding]
        made = forms.cast(sound, form)
        # What was faded is floats: it has more bits than any integers.
        made = replace(made, is_dithered=not made.is_float)
        most = PREVIEW_SECONDS * sound.sample_rate_hz
        if start_frame is None:
            start_frame = await self._loudest(sound, most)
        count = min(frame_count or most, most)
        span = plan(sound, Wanted(start_frame, count))
        asked = self._at_rate(sound, span, made)
        faded = await self._faded(sound, asked)
        frames = len(faded) // (4 * asked.channel_count)
        if not form.codec:
            chunks = wave_file(_once(faded), Encoding.F32LE, made, frames)
            return Preview(form.content_type, b"".join([chunk async for chunk in chunks]))
        body: list[bytes] = []

        async def take(data: bytes) -> None:
            body.append(data)

        head = await self._caster.encode_frames(_once(faded), Encoding.F32LE, made, frames, take)
        return Preview(form.content_type, b"".join([head, *body]))

    async def _loudest(self, sound: Sound, frame_count: int) -> int:
        if sound.frame_count <= frame_count:
            return 0
        return fading.loudest(await self._reader.points(sound), frame_count, sound.frame_count)

    def _at_rate(self, sound: Sound, span: Plan, made: forms.Cast) -> Plan:
        """The same stretch at the rate of the file."""
        rate_in, rate_out = sound.sample_rate_hz, made.sample_rate_hz
        start = span.start_frame * rate_out // rate_in
        count = max(1, (span.end_frame - span.start_frame) * rate_out // rate_in)
        channels = made.channel_count if made.channel_count <= 2 else 0
        return plan(sound, Wanted(start, count, rate_out, channels, 1 << 20))

    async def _faded(self, sound: Sound, asked: Plan) -> bytes:
        parts = [piece.pcm async for piece in self._reader.frames(sound, asked)]
        signal = unpacked(b"".join(parts), Layout(Encoding.F32LE, asked.channel_count))
        fade_frames = int(FADE_SECONDS * asked.sample_rate_hz)
        return fading.faded(signal, fade_frames).tobytes()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
