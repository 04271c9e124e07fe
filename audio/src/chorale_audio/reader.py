"""Reading named audio: one question to ingest, then PCM straight from object storage."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc
from chorale_runtime.objects import Objects

from chorale_audio.answers import raise_typed
from chorale_audio.encoding import Encoding
from chorale_audio.failures import SpanPastEnd
from chorale_audio.source import BLOCK_FRAMES, Source, Span, Store

if TYPE_CHECKING:
    from chorale_audio.pcm import Samples, Signal

_ENCODINGS = {
    audio_pb2.SAMPLE_ENCODING_S16LE: Encoding.S16LE,
    audio_pb2.SAMPLE_ENCODING_F32LE: Encoding.F32LE,
}
_ASK_SECONDS = 10.0


class AudioReader:
    """Reads named audio for the caller, or for the owner of the job, that is running.

    Sound never comes through ingest: it says, once, whether the owner may have the audio and where
    its PCM lies, and the bytes come from the bucket.
    """

    def __init__(
        self, ingest: ingest_service_pb2_grpc.IngestServiceStub, objects: Objects, store: Store
    ) -> None:
        self._ingest, self._objects, self._store = ingest, objects, store

    async def locate(self, audio: str, span: Span | None = None) -> Source:
        """Finds the PCM of `audio`, or of `span` within it, clamped to its end.

        Raises `AudioNotFound`, `SpanPastEnd` and `IngestUnavailable`.
        """
        request = audio_pb2.GetAudioRequest(name=audio)
        try:
            found = (await self._ingest.GetAudio(request, timeout=_ASK_SECONDS)).audio
        except grpc.aio.AioRpcError as error:
            raise_typed(error, audio)
        source = Source(
            audio=found.name,
            key=found.pcm.key,
            encoding=_ENCODINGS[found.pcm.encoding],
            sample_rate_hz=found.format.sample_rate_hz,
            channel_count=found.format.channel_count,
            start_frame=0,
            frame_count=found.frame_count,
            store=self._store,
        )
        if span is None:
            return source
        if span.start_frame >= source.frame_count:
            raise SpanPastEnd(span.start_frame, source.frame_count)
        return source.within(span.start_frame, span.frame_count or source.frame_count)

    async def blocks(
        self, audio: str, span: Span | None = None, block_frames: int = BLOCK_FRAMES
    ) -> "AsyncIterator[Samples]":
        """Yields float32 blocks `(frames, channels)`; every one but the last is full."""
        async for block in self.read(await self.locate(audio, span), block_frames):
            yield block

    async def read(
        self, source: Source, block_frames: int = BLOCK_FRAMES
    ) -> "AsyncIterator[Samples]":
        """Yields the blocks of a source that was located before."""
        from chorale_audio.pcm import decoded  # numpy, which locating alone does not need

        block_bytes = block_frames * source.frame_bytes
        pending = bytearray()
        async for data in self._objects.read(
            source.key,
            source.start_frame * source.frame_bytes,
            source.frame_count * source.frame_bytes,
            chunk_bytes=block_bytes,
        ):
            if not pending and len(data) == block_bytes:  # as a rule: nothing to copy
                yield decoded(data, source.encoding, source.channel_count)
                continue
            pending += data
            while len(pending) >= block_bytes:
                yield decoded(bytes(pending[:block_bytes]), source.encoding, source.channel_count)
                del pending[:block_bytes]
        if pending:
            yield decoded(bytes(pending), source.encoding, source.channel_count)

    async def signal(
        self, audio: str, span: Span | None = None, rate: int | None = None, mono: bool = False
    ) -> "Signal":
        """Reads all of it into memory, mixed and resampled on the way when asked to.

        For short audio and for previews; whatever takes a song wants a `Source` in a process.
        """
        import numpy as np

        from chorale_audio.pcm import Signal
        from chorale_audio.shaping import Shaper

        source = await self.locate(audio, span)
        shaper = Shaper(source, rate, mono)
        parts = [shaper.push(block) async for block in self.read(source)]
        return Signal(np.concatenate([*parts, shaper.finish()]), shaper.sample_rate_hz)
