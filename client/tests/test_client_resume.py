"""Uploads and downloads whose connections are cut at random bytes still end bit-exact."""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chorale_client import AsyncChorale, DataLossError, DeadlineError, UnavailableError, upload
from chorale_client.patience import Backoff
from client_songs import pcm, song
from cutting_proxy import CuttingProxy
from google.rpc import code_pb2
from loopback import PATIENCE, Served, serving
from memory_ingest import abort, status

CHUNK_BYTES = 1 << 20


async def test_an_upload_cut_a_hundred_times_arrives_whole(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is right, and no more than one chunk was sent twice over all cuts."""
    monkeypatch.setattr(upload, "Backoff", partial(Backoff, 0.01, 0.05))  # cuts, not waits
    wav = song(1, frame_count=9_000_000)  # 36 MB
    path = tmp_path / "take.wav"
    path.write_bytes(wav)
    async with (
        CuttingProxy(served.port, 1, cuts=100, bytes_mean=700_000) as proxy,
        AsyncChorale(f"127.0.0.1:{proxy.port}", patience=PATIENCE) as chorale,
    ):
        audio = await chorale.put(path)
    assert audio.name == f"audio/{hashlib.sha256(wav).hexdigest()}"
    assert proxy.cuts_done == 100
    assert served.ingest.received_bytes - len(wav) <= CHUNK_BYTES


async def test_a_stream_cut_again_and_again_arrives_whole(served: Served) -> None:
    """What can be read only once is kept aside until it is stored."""
    wav = song(3, frame_count=3_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        draw, at = random.Random(3), 0
        while at < len(wav):
            length = draw.randint(1, 300_000)
            yield wav[at : at + length]
            at += length
            await asyncio.sleep(0)

    async with (
        CuttingProxy(served.port, 3, cuts=20, bytes_mean=900_000) as proxy,
        AsyncChorale(f"127.0.0.1:{proxy.port}", patience=PATIENCE) as chorale,
    ):
        audio = await chorale.put(pieces(), size_bytes=len(wav))
    assert audio.name == f"audio/{hashlib.sha256(wav).hexdigest()}"
    assert proxy.cuts_done == 20


@pytest.mark.parametrize(("rate_hz", "channels"), [(0, 0), (22_050, 1)])
async def test_a_reading_cut_again_and_again_is_sample_exact(
    served: Served, chorale: AsyncChorale, rate_hz: int, channels: int
) -> None:
    """Forty cuts: the same frames as without, each once, in order."""
    audio = await chorale.put(song(4, frame_count=1_500_000))
    options = {"sample_rate_hz": rate_hz, "channel_count": channels}
    whole = [run async for run in chorale.read_frames(audio, None, **options)]
    async with (
        CuttingProxy(served.port, 4, cuts=40, bytes_mean=400_000) as proxy,
        AsyncChorale(f"127.0.0.1:{proxy.port}", patience=PATIENCE) as cut,
    ):
        runs = [run async for run in cut.read_frames(audio, range(17, 1_000_000), **options)]
    frame_bytes = 4 * whole[0].channel_count
    expected = b"".join(run.pcm for run in whole)[17 * frame_bytes : 1_000_000 * frame_bytes]
    assert b"".join(run.pcm for run in runs) == expected
    assert proxy.cuts_done > 3


async def test_a_download_cut_again_and_again_is_byte_exact(
    served: Served, chorale: AsyncChorale, tmp_path: Path
) -> None:
    """Sixty cuts: the file appears whole, and nothing else is left."""
    wav = song(5, frame_count=6_000_000)
    audio = await chorale.put(wav)
    async with (
        CuttingProxy(served.port, 5, cuts=60, bytes_mean=1_000_000) as proxy,
        AsyncChorale(f"127.0.0.1:{proxy.port}", patience=PATIENCE) as cut,
    ):
        path = await cut.get(audio, tmp_path / "back.wav")
    assert path.read_bytes() == wav
    assert os.listdir(tmp_path) == ["back.wav"]
    assert proxy.cuts_done > 10


async def test_a_download_continues_the_part_another_left(
    served: Served, chorale: AsyncChorale, tmp_path: Path
) -> None:
    """Only what is missing is asked for; a part that is wrong is found out and replaced."""
    wav = song(6, frame_count=2_000_000)
    audio = await chorale.put(wav)
    digest = audio.name.removeprefix("audio/")
    part = tmp_path / f".a.wav.{digest[:16]}.part"
    counted: list[int] = []

    part.write_bytes(wav[:6_000_000])
    await chorale.get(audio, tmp_path / "a.wav", progress=lambda done, _: counted.append(done))
    assert (tmp_path / "a.wav").read_bytes() == wav
    assert counted[0] > 6_000_000

    for wrong in (b"x" * 6_000_000, wav + b"and more", wav):
        part.write_bytes(wrong)
        await chorale.get(audio, tmp_path / "a.wav")
        assert (tmp_path / "a.wav").read_bytes() == wav
        assert not part.exists()


async def test_bytes_that_changed_at_rest_are_not_handed_out(
    served: Served, chorale: AsyncChorale, tmp_path: Path
) -> None:
    """A download with another digest than its name is DataLossError and leaves no file."""
    audio = await chorale.put(song(7))
    stored = served.ingest.audio["local", audio.name]
    stored.data = stored.data[:-1] + b"?"
    with pytest.raises(DataLossError):
        await chorale.get(audio, tmp_path / "a.wav")
    assert os.listdir(tmp_path) == []


async def test_an_upload_outlives_a_restart_of_the_server(served: Served) -> None:
    """The server goes away in the middle and comes back on its port: the upload goes on."""
    wav = song(8, frame_count=5_000_000)

    begun = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(wav), 500_000):
            yield wav[at : at + 500_000]
            if at > len(wav) // 3:
                begun.set()
            await asyncio.sleep(0.02)

    async with serving(served.ingest.add_to) as port:
        chorale = AsyncChorale(f"127.0.0.1:{port}", patience=PATIENCE)
        putting = asyncio.create_task(chorale.put(pieces(), size_bytes=len(wav)))
        await begun.wait()
    assert not putting.done()
    await asyncio.sleep(0.3)
    async with serving(served.ingest.add_to, port=port):
        audio = await putting
        await chorale.close()
    assert audio.name == f"audio/{hashlib.sha256(wav).hexdigest()}"


async def test_a_damaged_chunk_is_sent_again(served: Served, chorale: AsyncChorale) -> None:
    """CHECKSUM_MISMATCH of a chunk is mended; again and again it is given up."""
    damage = status(code_pb2.DATA_LOSS, "CHECKSUM_MISMATCH", of="chunk")
    wav = song(9)
    original = served.ingest._take
    left = [2]

    async def damaging(stored: Any, request: Any, context: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            await abort(context, damage)
        await original(stored, request, context)

    served.ingest._take = damaging  # type: ignore[method-assign,assignment]
    assert (await chorale.put(wav)).size_bytes == len(wav)
    left[0] = 100
    with pytest.raises(DataLossError):
        await chorale.put(song(10))


async def test_a_slow_source_keeps_its_stream_alive(
    served: Served, chorale: AsyncChorale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing comes from the source, empty chunks go out."""
    monkeypatch.setattr(upload, "HEARTBEAT_SECONDS", 0.05)
    wav = song(11)
    heartbeats = 0
    original = served.ingest._take

    async def counting(stored: Any, request: Any, context: Any) -> None:
        nonlocal heartbeats
        heartbeats += not request.data
        await original(stored, request, context)

    served.ingest._take = counting  # type: ignore[method-assign,assignment]

    async def pieces() -> AsyncIterator[bytes]:
        yield wav[:1000]
        await asyncio.sleep(0.5)
        yield wav[1000:]

    await chorale.put(pieces(), size_bytes=len(wav))
    assert heartbeats >= 3


async def test_an_upload_ends_with_its_deadline(served: Served) -> None:
    """Where every connection is cut at once, the caller's time is the limit."""
    async with (
        CuttingProxy(served.port, 12, cuts=1 << 30, bytes_mean=200_000) as proxy,
        AsyncChorale(f"127.0.0.1:{proxy.port}", patience=PATIENCE) as chorale,
    ):
        begun = asyncio.get_running_loop().time()
        with pytest.raises((UnavailableError, DeadlineError)):
            await chorale.put(song(12, frame_count=2_000_000), timeout_seconds=2)
        assert asyncio.get_running_loop().time() - begun < 4


async def test_reading_what_was_written_is_bit_exact(chorale: AsyncChorale) -> None:
    """numpy() sees the same samples as the bytes say."""
    wav = song(13)
    audio = await chorale.put(wav)
    runs = [run.numpy() async for run in chorale.read_frames(audio)]
    assert runs[0].shape[1] == 2
    assert b"".join(run.tobytes() for run in runs) == pcm(wav)
