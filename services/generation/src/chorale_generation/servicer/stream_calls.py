"""The call that lets sound be heard while it is made."""

import asyncio
import time
from collections.abc import AsyncIterator

from chorale.audio.v1 import audio_pb2
from chorale.generation.v1 import tracks_pb2
from chorale_audio.failures import SpanPastEnd
from chorale_audio.reader import AudioReader
from chorale_audio.source import Span
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations
from google.longrunning import operations_pb2

from chorale_generation.refusals import OperationUnfit
from chorale_generation.servicer.mosaics import GENERATE
from chorale_generation.store.pieces import Pieces, Stream

HEARTBEAT_SECONDS = 15.0
_LOOK_SECONDS = 0.2
_CHUNK_BYTES = 256 * 1024


class StreamCalls:
    """Part of GenerationService."""

    _operations: Operations
    _pieces: Pieces
    _reader: AudioReader

    async def StreamGeneration(
        self, request: tracks_pb2.StreamGenerationRequest, _: Context
    ) -> AsyncIterator[tracks_pb2.StreamGenerationResponse]:
        """Sends frames as they are made, from any frame on; waits at the end of what is there."""
        record = await self._operations.find(request.operation)
        if record.method != GENERATE or record.state in ("failed", "cancelled"):
            raise OperationUnfit(request.operation, record.method, "GenerateFromTracks, not failed")
        listener = _Listener(request.start_frame)
        while True:
            record = await self._operations.find(request.operation)
            if record.state in ("failed", "cancelled"):
                raise OperationUnfit(request.operation, record.method, "one that did not fail")
            stream = await self._pieces.stream(request.operation)
            if stream is not None and request.start_frame >= stream.total_frame_count:
                raise SpanPastEnd(request.start_frame, stream.total_frame_count)
            if record.is_done:
                answer = _answer(record.operation())
                async for message in self._rest(listener, answer):
                    yield message
                return
            if stream is not None:
                chunks = self._pieces.frames(
                    request.operation, stream, listener.frame, _CHUNK_BYTES
                )
                async for data in chunks:
                    yield listener.sent(data, stream)
            if listener.is_silent:
                yield listener.heartbeat()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _rest(
        self, listener: "_Listener", answer: tracks_pb2.GenerateFromTracksResponse
    ) -> AsyncIterator[tracks_pb2.StreamGenerationResponse]:
        """What was not sent before the operation was done, from the audio that it made."""
        total = answer.generation.frame_count
        if listener.frame >= total and not listener.has_sent:
            raise SpanPastEnd(listener.frame, total)
        stream = Stream(answer.generation.format, total, answer.provenance)
        if listener.frame < total:
            source = await self._reader.locate(answer.audio, Span(listener.frame))
            block_frames = _CHUNK_BYTES // stream.frame_bytes
            async for block in self._reader.read(source, block_frames):
                yield listener.sent(block.astype("<f4").tobytes(), stream)
        yield tracks_pb2.StreamGenerationResponse(
            span=audio_pb2.FrameSpan(start_frame=total),
            is_final=True,
            audio=answer.audio,
            total_frame_count=total,
        )


class _Listener:
    """Where one who listens is."""

    def __init__(self, frame: int) -> None:
        self.frame, self.has_sent = frame, False
        self._sent_at = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether it is time for a heartbeat."""
        return time.monotonic() - self._sent_at >= HEARTBEAT_SECONDS

    def heartbeat(self) -> tracks_pb2.StreamGenerationResponse:
        """Keeps the stream alive."""
        self._sent_at = time.monotonic()
        return tracks_pb2.StreamGenerationResponse()

    def sent(self, data: bytes, stream: Stream) -> tracks_pb2.StreamGenerationResponse:
        """The message for the next frames; the first says what they are."""
        count = len(data) // stream.frame_bytes
        message = tracks_pb2.StreamGenerationResponse(
            span=audio_pb2.FrameSpan(start_frame=self.frame, frame_count=count),
            frames=data,
            total_frame_count=stream.total_frame_count,
        )
        if not self.has_sent:
            message.format.CopyFrom(stream.format)
            message.provenance.CopyFrom(stream.provenance)
        self.frame, self.has_sent, self._sent_at = self.frame + count, True, time.monotonic()
        return message


def _answer(operation: operations_pb2.Operation) -> tracks_pb2.GenerateFromTracksResponse:
    answer = tracks_pb2.GenerateFromTracksResponse()
    operation.response.Unpack(answer)
    return answer
