"""What is acknowledged survives: kill -9 in mid-stream, outages of what the service stands on."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from chorale.ingest.v1 import audio_pb2, upload_pb2, usage_pb2
from chorale_ingest.settings import Settings
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres
from ingest_testing import (
    Ingest,
    Process,
    connected,
    keys,
    refusal,
    refusal_of,
    seen,
    settings_on,
    sha256,
    song,
    writes,
)


@pytest.fixture(scope="module")
def process(
    shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A service that may be killed, and is started again."""
    process = Process(shared_settings, tmp_path_factory.mktemp("killed"))
    process.start()
    yield process
    process.stop()


async def resumed(process: Process, upload: str, data: bytes) -> Any:
    """Go on as a client does: ask how it stands, write from there."""
    async with grpc.aio.insecure_channel(process.address) as channel:
        ingest = Ingest(channel)
        committed = await ingest.committed(upload)
        reply = await ingest.write(upload, data[committed:], committed, finish=True)
        assert await ingest.original(reply.audio.name) == data
        return reply.audio, committed


@pytest.mark.slow
async def test_an_upload_survives_kill_9(process: Process, shared_settings: Settings) -> None:
    """Killed in mid-stream, the service knows afterwards exactly what it acknowledged."""
    data = song(101, 44100 * 100)  # 17 MiB: several parts
    killed_at = random.uniform(0.05, 0.6)
    acknowledged = 0
    async with grpc.aio.insecure_channel(process.address) as channel:
        ingest = Ingest(channel)
        upload = await ingest.start(len(data), sha256=sha256(data))
        first = data[:1_000_000]
        acknowledged = (await ingest.write(upload.name, first)).committed_bytes
        rest = ingest.write(upload.name, data[len(first) :], len(first), finish=True)
        writing = asyncio.ensure_future(rest)
        await asyncio.sleep(killed_at)
        process.kill()
        finished = not isinstance(
            (await asyncio.gather(writing, return_exceptions=True))[0], grpc.aio.AioRpcError
        )
    process.start()
    if not finished:
        audio, committed = await resumed(process, upload.name, data)
        assert acknowledged <= committed <= len(data)
        assert audio.name == f"audio/{sha256(data)}"
    assert await seen(lambda: not keys(shared_settings, upload.name))


class Storage:
    """Database and object storage of one test's own, that may be taken away."""

    def __init__(self, folder: Path) -> None:
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.objects = EmbeddedObjects(folder / "objects")

    def settings(self) -> Settings:
        """Settings of a service on it."""
        return settings_on(self.postgres.url, self.objects, "outage")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """Storage that may be taken away, and is given back."""
    storage = Storage(tmp_path_factory.mktemp("outage"))
    with storage.postgres, storage.objects:
        yield storage


@pytest.mark.parametrize("lost", ["objects", "database"])
@pytest.mark.slow
async def test_an_outage_in_mid_upload_is_told_and_survived(storage: Storage, lost: str) -> None:
    """UNAVAILABLE with a delay while storage is away; afterwards the upload goes on."""
    part = storage.objects if lost == "objects" else storage.postgres
    data = song(120 + len(lost), 44100 * 20)
    async with connected(storage.settings()) as ingest:
        upload = await ingest.start(len(data))
        await ingest.write(upload.name, data[:1_000_000])
        await asyncio.to_thread(part.kill)
        found = await refusal(ingest.write(upload.name, data[1_000_000:], 1_000_000, finish=True))
        assert (found.code, found.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "DEPENDENCY_UNAVAILABLE",
        ), found
        assert found.metadata["dependency"] == lost
        assert "RetryInfo" in found.details
        await asyncio.to_thread(part.start)
        audio = await _until_whole(ingest, upload.name, data)
        assert await ingest.original(audio) == data


async def _until_whole(ingest: Ingest, upload: str, data: bytes) -> str:
    """Goes on from what is committed, as a caller does, until all is there."""
    for _ in range(150):
        try:
            committed = await ingest.committed(upload)
            assert committed >= 1_000_000
            reply = await ingest.write(upload, data[committed:], committed, finish=True)
            return reply.audio.name
        except grpc.aio.AioRpcError as error:
            found = refusal_of(error)
        assert found.reason == "DEPENDENCY_UNAVAILABLE", found
        await asyncio.sleep(0.2)
    raise AssertionError("The service did not recover.")


async def test_another_replica_takes_an_upload_over(settings: Settings) -> None:
    """The epoch is in the row: the older writer's next commit on another replica fails."""
    data = song(130, 44100 * 5)
    async with connected(settings) as one, connected(settings) as two:
        upload = await one.start(len(data))
        older = one.WriteUpload()
        await older.write(upload_pb2.WriteUploadRequest(upload=upload.name, data=data[:1000]))
        await asyncio.sleep(0.3)
        audio = (await two.write(upload.name, data, finish=True)).audio

        async def heartbeats() -> None:
            while True:
                await older.write(upload_pb2.WriteUploadRequest(offset_bytes=1000))
                await asyncio.sleep(0.3)

        beating = asyncio.ensure_future(heartbeats())
        found = await refusal(older)
        beating.cancel()
        assert found.reason in ("UPLOAD_CONTENDED", "UPLOAD_NOT_FOUND")
        assert await one.original(audio.name) == data


@pytest.mark.slow
async def test_the_sweep_removes_what_is_over(settings: Settings) -> None:
    """Expired audio, abandoned uploads and their objects go by themselves, all of them."""
    from dataclasses import replace

    short = replace(
        settings, audio_lifetime_seconds=2, upload_lifetime_seconds=2, sweep_seconds=0.2
    )
    async with connected(settings) as ingest:  # here no upload ends because decoding was slow
        audio, kept = await ingest.store(song(131)), await ingest.store(song(132))
        await ingest.KeepAudio(audio_pb2.KeepAudioRequest(name=kept.name))
    async with connected(short) as ingest:
        await ingest.KeepAudio(audio_pb2.KeepAudioRequest(name=audio.name, release=True))
        upload = await ingest.start(1000)
        await ingest.write(upload.name, b"x")
        digest = kept.name.removeprefix("audio/")
        assert await seen(lambda: all(digest in key for key in keys(settings)))
        assert len(keys(settings)) == 3
        assert (await refusal(ingest.get(audio.name))).reason == "AUDIO_NOT_FOUND"
        assert (await refusal(ingest.committed(upload.name))).reason == "UPLOAD_NOT_FOUND"
        watching = ingest.WatchDeletions(usage_pb2.WatchDeletionsRequest())
        told = (await anext(aiter(watching))).deletion  # other services hear of it
        watching.cancel()
        assert (told.audio, told.last) == (audio.name, True)


async def test_a_stream_of_many_small_chunks_and_silences_is_stored(ingest: Ingest) -> None:
    """Empty messages keep a stream alive and change nothing."""
    data = song(133)

    async def slowly(upload: str) -> AsyncIterator[upload_pb2.WriteUploadRequest]:
        for request in writes(upload, data, finish=True, chunk_bytes=9000):
            yield request
            if not request.finish:
                yield upload_pb2.WriteUploadRequest(offset_bytes=request.offset_bytes)

    upload = await ingest.start(len(data))
    audio = (await ingest.WriteUpload(slowly(upload.name))).audio
    assert audio.name == f"audio/{sha256(data)}"
