"""Frames to the bytes of a file: WAV here, everything else by an encoder."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from chorale_ingest import quantising, samples, wave
from chorale_ingest.forms import Cast, order
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.sounds import Sound, pcm_key
from chorale_ingest.store.reading import Reader, Wanted, plan, rechunked
from chorale_ingest.worker.encoders import Encoders

Take = Callable[[bytes], Awaitable[None]]


class Caster:
    """Makes files of sounds, or of frames that were made of them."""

    def __init__(self, reader: Reader, encoders: Encoders) -> None:
        self._reader, self._encoders = reader, encoders

    async def wave(self, sound: Sound, made: Cast) -> AsyncIterator[bytes]:
        """Yield a whole sound as a WAV, in order."""
        frame_count = plan(sound, _wanted(made)).total_frames
        chunks = wave_file(self._frames(sound, made), _fed(sound, made), made, frame_count)
        async for chunk in chunks:
            yield chunk

    async def encode(self, sound: Sound, made: Cast, take: Take) -> bytes:
        """Encode a whole sound; returns the head that belongs before what was taken."""
        frame_count = plan(sound, _wanted(made)).total_frames
        return await self.encode_frames(
            self._frames(sound, made), _fed(sound, made), made, frame_count, take
        )

    async def encode_frames(
        self,
        chunks: AsyncIterator[bytes],
        fed: Encoding,
        made: Cast,
        frame_count: int,
        take: Take,
    ) -> bytes:
        """The same of frames that come from elsewhere."""
        size_bytes = frame_count * made.channel_count * fed.sample_bytes
        return await self._encoders.encode(InOrder(chunks, size_bytes), order(made, fed), take)

    def _frames(self, sound: Sound, made: Cast) -> AsyncIterator[bytes]:
        if _fed(sound, made) is Encoding.S16LE:
            return self._reader.raw(pcm_key(sound.sha256), 0, 0)
        return self._floats(sound, made)

    async def _floats(self, sound: Sound, made: Cast) -> AsyncIterator[bytes]:
        async for piece in self._reader.frames(sound, plan(sound, _wanted(made))):
            yield bytes(piece.pcm)


class InOrder:
    """A stream that is read as a file, from its beginning to its end."""

    def __init__(self, chunks: AsyncIterator[bytes], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._chunks, self._rest, self._position = chunks, b"", 0

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read on; fewer bytes come only at the end."""
        if offset_bytes != self._position:
            raise ValueError(f"read at {offset_bytes}, the stream stands at {self._position}")
        parts, found = [self._rest], len(self._rest)
        while found < length_bytes and (chunk := await anext(self._chunks, None)) is not None:
            parts.append(chunk)
            found += len(chunk)
        data = b"".join(parts)
        self._rest = data[length_bytes:]
        taken = data[:length_bytes]
        self._position += len(taken)
        return taken


async def wave_file(
    chunks: AsyncIterator[bytes], fed: Encoding, made: Cast, frame_count: int
) -> AsyncIterator[bytes]:
    """Yield frames as a WAV."""
    channel_count = made.channel_count
    yield wave.head(made.bit_depth, made.is_float, channel_count, made.sample_rate_hz, frame_count)
    layout = Layout(fed, channel_count)
    if made.is_float or made.bit_depth == 8 * fed.sample_bytes:
        async for chunk in chunks:
            yield chunk
    else:
        number = 0
        async for block in rechunked(chunks, quantising.BLOCK_FRAMES * layout.frame_bytes):
            yield await asyncio.to_thread(_integers, block, layout, made, number)
            number += 1
    yield wave.tail(made.bit_depth, channel_count, frame_count)


def _integers(block: bytes, layout: Layout, made: Cast, number: int) -> bytes:
    signal = samples.signal(samples.unpacked(block, layout))
    integers = quantising.quantised(signal, made.bit_depth, number, made.is_dithered)
    return quantising.packed(integers, made.bit_depth)


def _wanted(made: Cast) -> Wanted:
    # Readers know as stored, 1 and 2: of more channels, only two are ever asked for here.
    return Wanted(
        sample_rate_hz=made.sample_rate_hz,
        channel_count=made.channel_count if made.channel_count <= 2 else 0,
        chunk_bytes=1 << 20,
    )


def _fed(sound: Sound, made: Cast) -> Encoding:
    """How the frames are written that a cast is made of: as stored, if nothing is done to them."""
    is_as_stored = (made.sample_rate_hz, made.channel_count) == (
        sound.sample_rate_hz,
        sound.channel_count,
    )
    return sound.encoding if is_as_stored and not made.is_float else Encoding.F32LE
