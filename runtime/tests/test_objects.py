"""The laws of the object storage, against a real S3 server."""

import asyncio
import hashlib
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from chorale_mesh.objects import EmbeddedObjects
from chorale_runtime.objects import (
    ObjectExists,
    ObjectNotFound,
    Objects,
    ObjectsUnavailable,
)

MIB = 1 << 20


@pytest.fixture
async def objects(object_server: EmbeddedObjects, bucket: str) -> AsyncIterator[Objects]:
    """The storage under test, on an empty bucket."""
    async with _open(object_server, bucket) as opened:
        yield opened


def _open(server: EmbeddedObjects, bucket: str, **options: object):  # type: ignore[no-untyped-def]
    return Objects.open(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        bucket=bucket,
        wait_seconds=10,
        **options,  # type: ignore[arg-type]
    )


def _bytes(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@pytest.mark.parametrize("size_bytes", [0, 1, 65_535, 65_536, 65_537, 3 * MIB])
async def test_what_was_put_is_read_back(objects: Objects, size_bytes: int) -> None:
    """Bytes come back as they went in, whatever their number."""
    data = _bytes(size_bytes)
    stored = await objects.put("a/key with spaces+ü", data, content_type="audio/x")
    assert stored.size_bytes == size_bytes
    assert await objects.read_all("a/key with spaces+ü") == data
    found = await objects.stat("a/key with spaces+ü")
    assert (found.size_bytes, found.content_type) == (size_bytes, "audio/x")
    assert found.etag == stored.etag == hashlib.md5(data).hexdigest()


async def test_ranges_are_exactly_the_bytes_asked_for(objects: Objects) -> None:
    """Any offset and length gives the slice Python would give."""
    data = _bytes(300_000)
    await objects.put("key", data)
    chooser = random.Random(2)
    cases = [(0, 1), (0, None), (299_999, None), (299_999, 10), (300_000, None), (400_000, 5)]
    cases += [(chooser.randrange(300_000), chooser.randrange(1, 90_000)) for _ in range(20)]
    for offset, length in cases:
        chunks = [c async for c in objects.read("key", offset, length, chunk_bytes=50_000)]
        assert b"".join(chunks) == data[offset:][:length], (offset, length)
        assert all(len(chunk) == 50_000 for chunk in chunks[:-1])


async def test_a_range_of_nothing_is_nothing(objects: Objects) -> None:
    """Asking for zero bytes yields none, instead of all."""
    await objects.put("key", b"abc")
    assert [chunk async for chunk in objects.read("key", 1, 0)] == []


async def test_unknown_keys_are_not_found(objects: Objects) -> None:
    """Reading, looking at and copying what is not there say so; deleting it is fine."""
    with pytest.raises(ObjectNotFound, match="nothing"):
        await objects.stat("nothing")
    with pytest.raises(ObjectNotFound):
        await objects.read_all("nothing")
    with pytest.raises(ObjectNotFound):
        await objects.copy("other", "nothing")
    await objects.delete("nothing")
    assert not await objects.exists("nothing")


async def test_of_many_conditional_writers_exactly_one_wins(objects: Objects) -> None:
    """`if_absent` is decided by the storage, so a race has one winner and no torn object."""
    bodies = [_bytes(50_000, seed) for seed in range(16)]
    results = await asyncio.gather(
        *(objects.put("key", body, if_absent=True) for body in bodies), return_exceptions=True
    )
    winners = [index for index, result in enumerate(results) if not isinstance(result, Exception)]
    assert len(winners) == 1
    assert all(isinstance(r, ObjectExists) for i, r in enumerate(results) if i not in winners)
    assert await objects.read_all("key") == bodies[winners[0]]


async def test_a_large_conditional_write_does_not_replace(objects: Objects) -> None:
    """`if_absent` binds multipart writes too."""
    await objects.put("key", b"first")
    with pytest.raises(ObjectExists):
        async with objects.writer("key", if_absent=True, part_bytes=5 * MIB) as writer:
            await writer.write(_bytes(6 * MIB))
    assert await objects.read_all("key") == b"first"


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 16 * MIB + 7])
async def test_a_writer_stores_what_it_was_given(objects: Objects, size_bytes: int) -> None:
    """Pieces of any size become one object, around and across the size of a part."""
    data = _bytes(size_bytes)
    chooser = random.Random(3)
    async with objects.writer("key", part_bytes=5 * MIB) as writer:
        start = 0
        while start < size_bytes:
            end = start + chooser.randrange(1, 900_000)
            await writer.write(data[start:end])
            start = end
    assert writer.stored is not None
    assert writer.stored.size_bytes == size_bytes
    assert (await objects.stat("key")).size_bytes == size_bytes
    assert await objects.read_all("key") == data


async def test_a_stream_of_unknown_length_can_be_put(objects: Objects) -> None:
    """`put` takes an async iterator."""

    async def pieces() -> AsyncIterator[bytes]:
        for index in range(5):
            yield bytes([index]) * 1000

    await objects.put("key", pieces())
    assert len(await objects.read_all("key")) == 5000


async def test_a_writer_that_fails_leaves_nothing(objects: Objects) -> None:
    """An exception in the block leaves neither an object nor parts behind."""

    async def write_half() -> None:
        async with objects.writer("key", part_bytes=5 * MIB) as writer:
            await writer.write(_bytes(11 * MIB))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await write_half()
    assert not await objects.exists("key")
    uploads = objects._client._list_multipart_uploads(objects.bucket)
    assert list(uploads.uploads) == []


async def test_a_writer_sees_a_failed_part(objects: Objects) -> None:
    """When the storage loses an upload in mid-write, the block raises and stores nothing."""

    async def write_to_nowhere() -> None:
        async with objects.writer("key", part_bytes=5 * MIB) as writer:
            await writer.write(_bytes(6 * MIB))
            await asyncio.wait(writer._parts)
            objects._client.abort(objects.bucket, "key", writer._upload_id)
            await writer.write(_bytes(12 * MIB))

    with pytest.raises((ObjectsUnavailable, ObjectNotFound)):
        await write_to_nowhere()
    assert not await objects.exists("key")


async def test_listing_pages_through_everything(objects: Objects) -> None:
    """More objects than one page are listed in order, and a prefix means a prefix."""
    keys = [f"many/{index:04d}" for index in range(1003)]
    await asyncio.gather(*(objects.put(key, b"x") for key in keys))
    await objects.put("other", b"y")
    assert [found.key async for found in objects.list("many/")] == keys
    assert [found.key async for found in objects.list("other")] == ["other"]
    assert await objects.delete_prefix("many/") == 1003
    assert [found.key async for found in objects.list()] == ["other"]


async def test_deleting_everything_needs_a_prefix(objects: Objects) -> None:
    """An empty prefix is refused instead of emptying the bucket."""
    with pytest.raises(ValueError, match="prefix"):
        await objects.delete_prefix("")


async def test_copies_and_compositions_are_the_bytes_of_their_sources(objects: Objects) -> None:
    """Copy and compose, inside the storage and through us, give the bytes one after another."""
    large, small = _bytes(5 * MIB), _bytes(1000, 2)
    await objects.put("large", large)
    await objects.put("small", small)
    assert (await objects.copy("copied", "large")).size_bytes == len(large)
    assert await objects.read_all("copied") == large
    await objects.compose("inside", ["large", "small"])
    assert await objects.read_all("inside") == large + small
    await objects.compose("through", ["small", "large"])
    assert await objects.read_all("through") == small + large


async def test_signed_urls_work_until_they_do_not(objects: Objects) -> None:
    """A signed URL reads and writes without credentials; a tampered or expired one does not."""

    def fetch(url: str, method: str = "GET", data: bytes | None = None) -> tuple[bytes, str]:
        request = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.read(), response.headers.get("content-disposition", "")

    await asyncio.to_thread(fetch, objects.sign_put("key", 60), "PUT", b"hello")
    url = objects.sign_get("key", 60, file_name='söng "1".wav')
    body, disposition = await asyncio.to_thread(fetch, url)
    assert body == b"hello"
    assert disposition.startswith("attachment; filename=")
    assert "s%C3%B6ng" in disposition
    brief = objects.sign_get("key", 1)
    await asyncio.sleep(2.1)
    for wrong in (url.replace("key", "other"), url[:-1] + ("1" if url[-1] == "0" else "0"), brief):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            await asyncio.to_thread(fetch, wrong)


async def test_signing_asks_no_server(object_server: EmbeddedObjects, bucket: str) -> None:
    """URLs point to the public endpoint, which need not answer from here."""
    async with _open(
        object_server, bucket, public_endpoint="https://sound.example.org:8443"
    ) as objects:
        started = time.perf_counter()
        url = objects.sign_get("key", 60)
        assert url.startswith(f"https://sound.example.org:8443/{bucket}/key?")
        assert time.perf_counter() - started < 0.1


async def test_the_bucket_is_made_if_wanted(object_server: EmbeddedObjects) -> None:
    """An absent bucket is made at open, by several at once too; or waited for, if so told."""
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(_open_and_close(object_server, "made-at-open"))
    with pytest.raises(TimeoutError):
        async with Objects.open(
            object_server.endpoint,
            object_server.access_key,
            object_server.secret_key,
            "never-made",
            create_bucket=False,
            wait_seconds=0.5,
        ):
            pass


async def _open_and_close(server: EmbeddedObjects, bucket: str) -> None:
    async with _open(server, bucket) as objects:
        await objects.probe()


async def test_wrong_credentials_are_a_dependency_at_fault(
    object_server: EmbeddedObjects, bucket: str
) -> None:
    """A wrong key is no caller's mistake; what the server said stays out of the message."""
    async with _open(object_server, bucket) as objects:
        objects._client._provider = type(objects._client._provider)("wrong", "wrong-secret")
        with pytest.raises(ObjectsUnavailable) as caught:
            await objects.put("key", b"x")
    assert vars(caught.value)["dependency"] == "objects"
    assert "wrong" not in str(caught.value)


async def test_a_dead_server_is_an_error_in_seconds(bucket: str) -> None:
    """When nobody listens, every call fails soon, and so does opening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(TimeoutError):
        async with Objects.open(endpoint, "a", "b" * 8, bucket, wait_seconds=0.5):
            pass


@dataclass
class Proxy:
    """A relay that cuts the connection after so many bytes from the server."""

    port: int = 0
    cut_after_bytes: int = 0
    cuts: int = 0


@asynccontextmanager
async def _proxy(target: str) -> AsyncIterator[Proxy]:
    host, port = target.split(":")
    proxy = Proxy()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        sent = 0

        async def down() -> None:
            nonlocal sent
            while data := await up_reader.read(65_536):
                sent += len(data)
                if 0 < proxy.cut_after_bytes < sent:
                    proxy.cuts += 1
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()

        async def up() -> None:
            while data := await reader.read(65_536):
                up_writer.write(data)
                await up_writer.drain()

        await asyncio.gather(down(), up(), return_exceptions=True)
        up_writer.transport.abort()
        writer.transport.abort()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy


async def test_a_read_goes_on_where_a_connection_broke(
    object_server: EmbeddedObjects, bucket: str
) -> None:
    """Connections cut in mid-body are replaced; the reader sees every byte once."""
    data = _bytes(4 * MIB)
    async with (
        _proxy(object_server.endpoint) as proxy,
        Objects.open(
            f"127.0.0.1:{proxy.port}", object_server.access_key, object_server.secret_key, bucket
        ) as objects,
    ):
        await objects.put("key", data)
        proxy.cut_after_bytes = int(1.5 * MIB)
        assert await objects.read_all("key") == data
        assert proxy.cuts >= 2
        proxy.cut_after_bytes = 2000  # now nothing ever gets through
        with pytest.raises(ObjectsUnavailable):
            await objects.read_all("key")


@pytest.mark.slow
async def test_the_server_may_be_killed_and_started_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """While S3 is dead calls fail within seconds; when it is back they work, with all data."""
    with EmbeddedObjects(tmp_path_factory.mktemp("killed")) as server:
        async with _open(server, "bucket") as objects:
            data = _bytes(3 * MIB)
            await objects.put("key", data)
            server.kill()
            started = time.perf_counter()
            for call in (objects.put("key", data), objects.stat("key"), objects.read_all("key")):
                with pytest.raises(ObjectsUnavailable):
                    await call
            assert time.perf_counter() - started < 12
            server.start()
            assert await _when_whole(objects, "key") == data
            await objects.put("other", data)


async def _when_whole(objects: Objects, key: str) -> bytes:
    """Reads, again while the server, which answers already, has not found all its volumes."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await objects.read_all(key)
            except ObjectsUnavailable:
                await asyncio.sleep(0.2)


async def test_reading_streams_without_holding_the_object(objects: Objects) -> None:
    """A slow reader holds two chunks, not the object; leaving early frees the connection."""
    await objects.put("key", _bytes(16 * MIB))
    for _ in range(40):  # more than there are connections
        async for chunk in objects.read("key", chunk_bytes=65_536):
            assert len(chunk) == 65_536
            break
    assert (await objects.stat("key")).size_bytes == 16 * MIB
