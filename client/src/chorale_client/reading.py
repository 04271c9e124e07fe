"""Reads audio back: as frames or as bytes, resumed after every break from the next position."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chorale.audio.v1.audio_pb2 import FrameSpan, PcmFormat
from chorale.ingest.v1.reading_pb2 import (
    ReadBytesRequest,
    ReadBytesResponse,
    ReadFramesRequest,
    ReadFramesResponse,
)

from chorale_client.errors import ChoraleError, DataLossError, RequestError
from chorale_client.failures import is_passing
from chorale_client.patience import Backoff, Deadline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_BYTES = 4
Span = FrameSpan | range | None


@dataclass(frozen=True)
class Frames:
    """A run of frames: interleaved 32-bit little-endian floats in [-1, 1]."""

    start_frame: int
    """Where it begins in the audio, at this rate."""

    pcm: bytes
    sample_rate_hz: int
    channel_count: int

    total_frames: int
    """How many frames the whole audio holds at this rate."""

    @property
    def frame_count(self) -> int:
        """How many frames this run holds."""
        return len(self.pcm) // (SAMPLE_BYTES * self.channel_count)

    def numpy(self) -> "NDArray[np.float32]":
        """The samples, shaped (frames, channels), read-only. Needs numpy."""
        import numpy as np

        return np.frombuffer(self.pcm, dtype="<f4").reshape(-1, self.channel_count)


def frame_span(span: Span) -> FrameSpan:
    """The contract's span of `range(start, stop)`; all of the audio for None."""
    if span is None:
        return FrameSpan()
    if isinstance(span, FrameSpan):
        return span
    if span.step != 1 or span.start < 0 or len(span) == 0:
        raise RequestError(
            f"A span is range(start, stop) with 0 <= start < stop, not {span}.",
            reason="REQUEST_INVALID",
        )
    return FrameSpan(start_frame=span.start, frame_count=len(span))


async def read_frames(
    ingest: Any, request: ReadFramesRequest, deadline: Deadline
) -> AsyncGenerator[Frames]:
    """The frames that `request` asks for, in order, each once, whatever breaks on the way."""
    position = request.span.start_frame
    left = request.span.frame_count  # 0: to the end
    total_frames = -1
    pcm_format: PcmFormat | None = None
    backoff = Backoff()
    while True:
        part = ReadFramesRequest()
        part.CopyFrom(request)
        part.span.CopyFrom(FrameSpan(start_frame=position, frame_count=left))
        try:
            async with aclosing(ingest.ReadFrames(part, timeout=deadline.left_seconds)) as answers:
                async for answer in answers:
                    if answer.HasField("format"):
                        pcm_format, total_frames = answer.format, answer.total_frames
                    if not answer.pcm:
                        continue  # a heartbeat
                    frames = _frames(answer, pcm_format, total_frames, position)
                    position += frames.frame_count
                    left = max(0, left - frames.frame_count)
                    backoff.progressed()
                    yield frames
            return
        except ChoraleError as error:
            if not is_passing(error):
                raise
            if (request.span.frame_count and not left) or position == total_frames:
                return  # everything had come; only the goodbye was lost
            await backoff.wait(error, deadline)


def _frames(
    answer: ReadFramesResponse, pcm_format: PcmFormat | None, total_frames: int, position: int
) -> Frames:
    if pcm_format is None or answer.start_frame != position:
        raise DataLossError(
            f"Frames from {position} were due; the server sent {answer.start_frame}"
            f"{' and no format' if pcm_format is None else ''}.",
            reason="STREAM_OUT_OF_ORDER",
        )
    return Frames(
        answer.start_frame,
        answer.pcm,
        pcm_format.sample_rate_hz,
        pcm_format.channel_count,
        total_frames,
    )


async def read_bytes(
    ingest: Any, request: ReadBytesRequest, deadline: Deadline
) -> AsyncGenerator[ReadBytesResponse]:
    """The stored bytes that `request` asks for, in order, each once. `size_bytes` is in all."""
    position = request.offset_bytes
    left = request.length_bytes  # 0: to the end
    size_bytes = -1
    backoff = Backoff()
    while True:
        part = ReadBytesRequest(audio=request.audio, offset_bytes=position, length_bytes=left)
        try:
            async with aclosing(ingest.ReadBytes(part, timeout=deadline.left_seconds)) as answers:
                async for answer in answers:
                    size_bytes = answer.size_bytes or size_bytes
                    if not answer.data:
                        continue  # a heartbeat
                    if answer.offset_bytes != position:
                        raise DataLossError(
                            f"Bytes from {position} were due; the server sent "
                            f"{answer.offset_bytes}.",
                            reason="STREAM_OUT_OF_ORDER",
                        )
                    answer.size_bytes = size_bytes
                    position += len(answer.data)
                    left = max(0, left - len(answer.data))
                    backoff.progressed()
                    yield answer
            return
        except ChoraleError as error:
            if not is_passing(error):
                raise
            if (request.length_bytes and not left) or position == size_bytes:
                return  # everything had come; only the goodbye was lost
            await backoff.wait(error, deadline)
