"""Audio as a file: the original, or a WAV made of what is stored."""

from collections.abc import AsyncIterator

from chorale_runtime.objects import Objects

from chorale_ingest import sniffing, wave
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.sounds import Sound, original_key, pcm_key
from chorale_ingest.store.reading import Reader, Wanted, plan

WAVE_TYPE = "audio/wav"


class Downloads:
    """Makes files of sounds."""

    def __init__(self, objects: Objects, reader: Reader, lifetime_seconds: int) -> None:
        self._objects, self._reader = objects, reader
        self.lifetime_seconds = lifetime_seconds

    def original_key(self, sound: Sound) -> str:
        """Where the bytes are that `ReadBytes` reads: of what the mesh made, its PCM."""
        return original_key(sound.sha256) if sound.has_original else pcm_key(sound.sha256)

    def file(self, sound: Sound, encoding: str) -> tuple[str, AsyncIterator[bytes] | None]:
        """The content type and bytes of an encoding; no bytes where it is not served."""
        if encoding == "unspecified" and sound.has_original:
            content_type = sniffing.content_type(sound.container)
            return content_type, self._reader.raw(original_key(sound.sha256), 0, 0)
        is_s16 = sound.encoding is Encoding.S16LE
        if encoding == "unspecified" or (encoding == "wav16" and is_s16):
            return WAVE_TYPE, self._stored(sound)
        if encoding == "wav32f":
            return WAVE_TYPE, self._floats(sound)
        return "", None

    def sign(self, sound: Sound, lifetime_seconds: int, file_name: str) -> str:
        """A URL of the original, saved under a name."""
        name = file_name or f"{sound.sha256[:12]}.{sound.container.split(',')[0]}"
        return self._objects.sign_get(original_key(sound.sha256), lifetime_seconds, name)

    async def _stored(self, sound: Sound) -> AsyncIterator[bytes]:
        yield wave.head(sound.layout, sound.sample_rate_hz, sound.frame_count)
        async for chunk in self._reader.raw(pcm_key(sound.sha256), 0, 0):
            yield chunk

    async def _floats(self, sound: Sound) -> AsyncIterator[bytes]:
        layout = Layout(Encoding.F32LE, sound.channel_count)
        yield wave.head(layout, sound.sample_rate_hz, sound.frame_count)
        async for piece in self._reader.frames(sound, plan(sound, Wanted())):
            yield piece.pcm
