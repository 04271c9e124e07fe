"""Frames out of object storage: any span, as stored or mixed, at any rate.

Nothing is kept between reads. A piece of the answer depends on the audio and on the
piece's position alone, so a read that is resumed anywhere gives the same bits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from chorale_runtime.objects import Objects

from chorale_ingest import overview, resampling, samples
from chorale_ingest.samples import Layout, Signal
from chorale_ingest.sounds import Sound, overview_key, pcm_key

CHUNK_BYTES_DEFAULT = 256 << 10
FETCH_BYTES = 1 << 20
FLOAT_BYTES = 4
# The finest picture that is drawn from the samples themselves; longer spans use the overview.
PICTURE_FRAMES_MAX = 1 << 21


Pcm: TypeAlias = bytes | memoryview


class SpanPastEnd(Exception):
    """The span begins at or after the end."""

    def __init__(self, start_frame: int, frame_count: int) -> None:
        super().__init__(start_frame, frame_count)
        self.start_frame, self.frame_count = start_frame, frame_count

    def __str__(self) -> str:
        return (
            f"The span reaches frame {self.start_frame}; the audio has {self.frame_count} frames."
        )


@dataclass(frozen=True)
class Wanted:
    """What a reader asks for; 0 means as stored."""

    start_frame: int = 0
    frame_count: int = 0
    sample_rate_hz: int = 0
    channel_count: int = 0
    chunk_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """What a reader gets."""

    sample_rate_hz: int
    channel_count: int
    start_frame: int
    end_frame: int
    total_frames: int
    frames_per_chunk: int


@dataclass(frozen=True)
class Piece:
    """Frames, as interleaved float32, wherever they lie."""

    start_frame: int
    pcm: Pcm


def plan(sound: Sound, wanted: Wanted) -> Plan:
    """Settle rate, channels, span and message size, or say that the span is outside."""
    rate = wanted.sample_rate_hz or sound.sample_rate_hz
    channel_count = wanted.channel_count or sound.channel_count
    total = resampling.grid(sound.sample_rate_hz, rate).frame_count(sound.frame_count)
    if wanted.start_frame >= total:
        raise SpanPastEnd(wanted.start_frame, total)
    end = wanted.start_frame + wanted.frame_count if wanted.frame_count else total
    chunk_bytes = wanted.chunk_bytes or CHUNK_BYTES_DEFAULT
    return Plan(
        sample_rate_hz=rate,
        channel_count=channel_count,
        start_frame=wanted.start_frame,
        end_frame=min(end, total),
        total_frames=total,
        frames_per_chunk=max(1, chunk_bytes // (channel_count * FLOAT_BYTES)),
    )


class Reader:
    """Reads the PCM of sounds."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def frames(self, sound: Sound, asked: Plan) -> AsyncIterator[Piece]:
        """Yield the planned frames in order, each piece but the last of the planned size."""
        position = asked.start_frame
        frame_bytes = asked.channel_count * FLOAT_BYTES
        async for pcm in self._pieces(sound, asked):
            yield Piece(position, pcm)
            position += len(pcm) // frame_bytes

    def _pieces(self, sound: Sound, asked: Plan) -> AsyncIterator[Pcm]:
        if asked.sample_rate_hz == sound.sample_rate_hz:
            return self._stored(sound, asked)
        piece_bytes = asked.frames_per_chunk * asked.channel_count * FLOAT_BYTES
        return rechunked(self._resampled(sound, asked), piece_bytes)

    async def raw(self, key: str, offset_bytes: int, length_bytes: int) -> AsyncIterator[bytes]:
        """Yield an object's bytes in chunks of at most 1 MiB."""
        chunks = self._objects.read(key, offset_bytes, length_bytes or None, FETCH_BYTES)
        async for chunk in chunks:
            yield chunk

    async def points(self, sound: Sound) -> overview.Points:
        """The whole stored overview: 12 bytes for 2048 frames."""
        return overview.stored_points(await self._objects.read_all(overview_key(sound.sha256)))

    async def picture(
        self, sound: Sound, start_frame: int, end_frame: int, point_count: int
    ) -> overview.Picture:
        """Draw a span: from its samples if it is short, else from the stored overview."""
        if end_frame - start_frame <= PICTURE_FRAMES_MAX:
            data = await self._bytes(sound, start_frame, end_frame)
            found = samples.unpacked(data, sound.layout)
            per_point = max(1, len(found) // point_count)
            made = await asyncio.to_thread(overview.points, found, per_point)
        else:
            per_point = overview.FRAMES_PER_POINT
            first, last = start_frame // per_point, -(-end_frame // per_point)
            stored = await self._objects.read_all(
                overview_key(sound.sha256),
                first * overview.POINT_BYTES,
                (last - first) * overview.POINT_BYTES,
            )
            made = overview.stored_points(stored)
        return overview.picture(made, per_point, point_count)

    async def _stored(self, sound: Sound, asked: Plan) -> AsyncIterator[Pcm]:
        layout = sound.layout
        as_is = layout.encoding is samples.Encoding.F32LE and (
            asked.channel_count == layout.channel_count
        )
        span = (asked.end_frame - asked.start_frame) * layout.frame_bytes
        offset = asked.start_frame * layout.frame_bytes
        # Fetched in whole pieces, so that none is put together from two.
        piece_bytes = asked.frames_per_chunk * layout.frame_bytes
        fetch_bytes = max(1, FETCH_BYTES // piece_bytes) * piece_bytes
        chunks = self._objects.read(pcm_key(sound.sha256), offset, span, fetch_bytes)
        async for piece in rechunked(chunks, piece_bytes):
            yield piece if as_is else _signal(piece, layout, asked.channel_count).data.cast("B")

    async def _resampled(self, sound: Sound, asked: Plan) -> AsyncIterator[bytes]:
        grid = resampling.grid(sound.sample_rate_hz, asked.sample_rate_hz)
        first, last = grid.block_of(asked.start_frame), grid.block_of(asked.end_frame - 1)
        ahead = asyncio.create_task(self._window(sound, grid, first, asked.channel_count))
        try:
            for block in range(first, last + 1):
                window = await ahead
                if block < last:
                    ahead = asyncio.create_task(
                        self._window(sound, grid, block + 1, asked.channel_count)
                    )
                made = await asyncio.to_thread(resampling.resample_block, window, grid)
                start = block * grid.block_out_frames
                yield made[max(0, asked.start_frame - start) : asked.end_frame - start].tobytes()
        finally:
            ahead.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await ahead

    async def _window(
        self, sound: Sound, grid: resampling.Grid, block: int, channel_count: int
    ) -> Signal:
        start, end = grid.window(block)
        data = await self._bytes(sound, max(0, start), min(end, sound.frame_count))
        return resampling.padded(
            _signal(data, sound.layout, channel_count), start, end, sound.frame_count
        )

    async def _bytes(self, sound: Sound, start_frame: int, end_frame: int) -> bytes:
        if end_frame <= start_frame:
            return b""
        frame_bytes = sound.layout.frame_bytes
        return await self._objects.read_all(
            pcm_key(sound.sha256),
            start_frame * frame_bytes,
            (end_frame - start_frame) * frame_bytes,
        )


def _signal(data: bytes, layout: Layout, channel_count: int) -> Signal:
    signal = samples.signal(samples.unpacked(data, layout))
    return np.ascontiguousarray(samples.with_channels(signal, channel_count))


async def rechunked(chunks: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """Cut a stream of bytes into pieces of one size; the last may be shorter."""
    rest = b""
    async for chunk in chunks:
        data = rest + chunk if rest else chunk
        whole = len(data) - len(data) % size_bytes
        for start in range(0, whole, size_bytes):
            yield data[start : start + size_bytes]
        rest = data[whole:]
    if rest:
        yield rest
