"""Reading named audio, from a real ingest and a real S3."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import signals
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc
from chorale_audio.failures import AudioNotFound, IngestUnavailable, SpanPastEnd
from chorale_audio.pcm import Encoding
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source, Span, Store
from chorale_runtime import caller
from chorale_runtime.channels import channel
from chorale_runtime.objects import ObjectNotFound, Objects, ObjectsUnavailable
from signals import Signal
from standing_ingest import Ingest

SOUND = signals.noise(3.0, 9)


@pytest.fixture(scope="module")
def stored(ingest: Ingest) -> audio_pb2.Audio:
    """The noise that the tests read, as float."""
    return ingest.put(SOUND)


async def read(reader: AudioReader, audio: str, span: Span | None, block_frames: int) -> Signal:
    """All blocks in one; every one but the last must be full."""
    blocks = [block async for block in reader.blocks(audio, span, block_frames)]
    assert all(len(block) == block_frames for block in blocks[:-1])
    assert all(block.dtype == np.float32 for block in blocks)
    return np.concatenate(blocks)


@pytest.mark.parametrize("block_frames", [1000, 4096, 65536, 1 << 20])
async def test_what_was_put_is_read(
    reader: AudioReader, stored: audio_pb2.Audio, block_frames: int
) -> None:
    """The samples of a float file come back bit by bit, in blocks of any size."""
    assert np.array_equal(await read(reader, stored.name, None, block_frames), SOUND)


async def test_both_ways_read_the_same(reader: AudioReader, stored: audio_pb2.Audio) -> None:
    """A source read in a process gives the blocks that the reader gives."""
    source = await reader.locate(stored.name)
    blocks = await asyncio.to_thread(lambda: list(source.blocks(5000)))
    assert [len(block) for block in blocks[:-1]] == [5000] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate(blocks), SOUND)
    assert (source.sample_rate_hz, source.channel_count) == (44100, 2)


@pytest.mark.parametrize(
    ("start", "count"), [(0, 0), (1, 1), (1000, 50_000), (132_000, 0), (100_000, 1 << 40)]
)
async def test_a_span_is_read_alone(
    reader: AudioReader, stored: audio_pb2.Audio, start: int, count: int
) -> None:
    """The frames of a span, no more; 0 is to the end, and past the end is cut there."""
    found = await read(reader, stored.name, Span(start, count), 8192)
    assert np.array_equal(found, SOUND[start : start + count if count else None])
    source = await reader.locate(stored.name, Span(start, count))
    blocks = await asyncio.to_thread(lambda: np.concatenate(list(source.blocks(8192))))
    assert np.array_equal(blocks, found)


async def test_integers_are_read_as_floats(reader: AudioReader, ingest: Ingest) -> None:
    """A 16-bit file is read to within half a step."""
    audio = ingest.put(SOUND, subtype="PCM_16")
    source = await reader.locate(audio.name)
    assert source.encoding is Encoding.S16LE
    found = await read(reader, audio.name, None, 65536)
    assert np.abs(found - SOUND).max() <= 1.0 / 32768


async def test_a_signal_is_shaped_on_the_way(reader: AudioReader, ingest: Ingest) -> None:
    """`signal` mixes and resamples: half the rate, one channel, the same tone."""
    audio = ingest.put(signals.sine(-6, 2.0, 2, 440.0))
    signal = await reader.signal(audio.name, rate=22050, mono=True)
    assert (signal.sample_rate_hz, signal.channel_count) == (22050, 1)
    assert signal.frame_count == 44100
    expected = signals.sine(-6, 2.0, 1, 440.0, 22050)
    assert np.abs(signal.samples - expected)[200:-200].max() < 1e-3
    assert np.array_equal((await reader.signal(audio.name)).samples.shape, (88200, 2))


async def test_what_is_not_there_is_named(reader: AudioReader, stored: audio_pb2.Audio) -> None:
    """Unknown audio and spans past the end raise with their fields."""
    unknown = "audio/" + "f" * 64
    with pytest.raises(AudioNotFound) as missing:
        await reader.locate(unknown)
    assert missing.value.audio == unknown
    with pytest.raises(SpanPastEnd) as past:
        await reader.locate(stored.name, Span(stored.frame_count, 1))
    assert past.value.frame_count == stored.frame_count


async def test_only_the_owner_reads(reader: AudioReader, stored: audio_pb2.Audio) -> None:
    """On behalf of anybody else the audio is not there."""
    with caller.acting(caller.Caller("somebody else", "free")), pytest.raises(AudioNotFound):
        await reader.locate(stored.name)


async def test_an_ingest_that_is_away_is_typed(objects: Objects, store: Store) -> None:
    """No ingest at the address: IngestUnavailable, with a time to try again."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        async with channel(address) as nowhere:
            stub = ingest_service_pb2_grpc.IngestServiceStub(nowhere)
            with pytest.raises(IngestUnavailable) as caught:
                await AudioReader(stub, objects, store).locate("audio/" + "0" * 64)
    assert caught.value.dependency == "ingest"
    assert caught.value.retry_after_seconds > 0


async def test_a_storage_that_is_away_is_typed(
    reader: AudioReader, stored: audio_pb2.Audio
) -> None:
    """No storage at the address, or no object: typed, from a process too."""
    source = await reader.locate(stored.name)
    away = replace(source, store=replace(source.store, endpoint="127.0.0.1:9"))
    with pytest.raises(ObjectsUnavailable):
        await asyncio.to_thread(lambda: list(away.blocks()))
    gone = replace(source, key="pcm/nothing")
    with pytest.raises(ObjectNotFound):
        await asyncio.to_thread(lambda: list(gone.blocks()))


@contextmanager
def tearing_proxy(endpoint: str, after_bytes: int) -> Iterator[str]:
    """Passes connections on to `endpoint`, and cuts every one after so many bytes of answer."""
    host, _, port = endpoint.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            with ours, socket.create_connection((host, int(port))) as theirs:
                theirs.settimeout(0.5)  # a whole answer leaves the connection open and silent
                theirs.sendall(ours.recv(65536))
                left = after_bytes
                with suppress(TimeoutError):
                    while left > 0 and (data := theirs.recv(min(left, 65536))):
                        ours.sendall(data)
                        left -= len(data)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def torn(source: Source, after_bytes: int) -> Signal:
    """Reads a source over connections that break after so many bytes."""
    with tearing_proxy(source.store.endpoint, after_bytes) as endpoint:
        broken = replace(source, store=replace(source.store, endpoint=endpoint))
        return np.concatenate(list(broken.blocks(4096)))


async def test_reading_goes_on_where_it_broke(reader: AudioReader, stored: audio_pb2.Audio) -> None:
    """A connection that breaks, within a frame too, is replaced; the sound is whole."""
    source = await reader.locate(stored.name)
    size_bytes = source.frame_count * source.frame_bytes
    found = await asyncio.to_thread(torn, source, size_bytes // 2 + 1003)
    assert np.array_equal(found, SOUND)


async def test_reading_does_not_go_on_for_ever(
    reader: AudioReader, stored: audio_pb2.Audio
) -> None:
    """A storage that breaks every read soon is unavailable, not half a sound."""
    source = await reader.locate(stored.name)
    with pytest.raises(ObjectsUnavailable):
        await asyncio.to_thread(torn, source, 20_000)
