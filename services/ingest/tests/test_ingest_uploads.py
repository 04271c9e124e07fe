"""The laws of uploads, over the wire."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import google_crc32c
import grpc
import pytest
from chorale.ingest.v1 import upload_pb2
from chorale_ingest.settings import Settings
from chorale_ingest.store.uploads import prefix
from google.api import httpbody_pb2
from ingest_testing import (
    Ingest,
    bucket_of,
    encoded,
    keys,
    noise,
    refusal,
    seen,
    sha256,
    song,
    writes,
)


async def test_what_was_uploaded_is_read_back(ingest: Ingest) -> None:
    """The stored bytes are the uploaded bytes, under their digest."""
    data = song(1)
    audio = await ingest.store(data, file_name="take.wav")
    assert audio.name == f"audio/{sha256(data)}"
    assert (audio.file_name, audio.title, audio.container) == ("take.wav", "take.wav", "wav")
    assert await ingest.original(audio.name) == data


async def test_an_upload_resumes_where_it_stands(ingest: Ingest) -> None:
    """A stream that ends early is gone on with from committed_bytes."""
    data = song(2, 44100 * 8)
    upload = await ingest.start(len(data), sha256=sha256(data))
    half = len(data) // 2
    assert (await ingest.write(upload.name, data[:half])).committed_bytes == half
    assert await ingest.committed(upload.name) == half
    audio = (await ingest.write(upload.name, data[half:], half, finish=True)).audio
    assert await ingest.original(audio.name) == data


async def test_bytes_before_committed_are_skipped(ingest: Ingest) -> None:
    """A client may overlap: what is committed is not compared and not stored again."""
    data = song(3)
    upload = await ingest.start(len(data), sha256=sha256(data))
    await ingest.write(upload.name, data[:50_000])
    wrong_again = bytes(30_000) + data[30_000:]
    wrong_again = wrong_again[:50_000] + data[50_000:]
    audio = (await ingest.write(upload.name, wrong_again, finish=True, chunk_bytes=7000)).audio
    assert audio.name == f"audio/{sha256(data)}"


async def test_a_gap_is_refused_and_what_came_before_it_kept(ingest: Ingest) -> None:
    """An offset past committed_bytes is OUT_OF_RANGE and says where to go on."""
    data = song(4)
    upload = await ingest.start(len(data))

    async def with_gap() -> AsyncIterator[upload_pb2.WriteUploadRequest]:
        yield upload_pb2.WriteUploadRequest(upload=upload.name, data=data[:1000])
        yield upload_pb2.WriteUploadRequest(offset_bytes=2000, data=data[2000:3000])

    found = await refusal(ingest.WriteUpload(with_gap()))
    assert (found.code, found.reason) == (grpc.StatusCode.OUT_OF_RANGE, "UPLOAD_GAP")
    assert found.metadata["committedBytes"] == "1000"
    assert await ingest.committed(upload.name) == 1000


async def test_the_older_of_two_writers_is_aborted(ingest: Ingest) -> None:
    """A newer stream takes the upload over, and the older learns it while it is silent."""
    data = song(5)
    upload = await ingest.start(len(data))
    older = ingest.WriteUpload()
    await older.write(upload_pb2.WriteUploadRequest(upload=upload.name, data=data[:1000]))
    await asyncio.sleep(0.3)
    audio = (await ingest.write(upload.name, data, finish=True)).audio
    assert audio.name == f"audio/{sha256(data)}"
    found = await refusal(older)
    assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_CONTENDED")


async def test_finishing_twice_is_ok(ingest: Ingest) -> None:
    """A client that did not hear the answer asks again and gets the same audio."""
    data = song(6)
    upload = await ingest.start(len(data))
    first = await ingest.write(upload.name, data, finish=True)
    assert await ingest.write(upload.name, data, finish=True) == first
    assert await ingest.write(upload.name, b"", len(data), finish=True) == first
    told = (await ingest.GetUpload(upload_pb2.GetUploadRequest(name=upload.name))).upload
    assert (told.audio, told.committed_bytes) == (first.audio.name, len(data))


async def test_a_client_that_does_not_close_its_stream_is_answered(ingest: Ingest) -> None:
    """After finish the server does not wait for ever for the end of the stream."""
    data = song(7)
    upload = await ingest.start(len(data))
    call = ingest.WriteUpload()
    for request in writes(upload.name, data, finish=True):
        await call.write(request)
    assert (await asyncio.wait_for(call, 15)).audio.name == f"audio/{sha256(data)}"


async def test_a_repeated_start_returns_the_first_upload(ingest: Ingest) -> None:
    """request_id makes starting idempotent, also under fifty at once."""
    request_id = str(uuid.uuid4())
    starts = (ingest.start(1000, request_id=request_id) for _ in range(50))
    names = {upload.name for upload in await asyncio.gather(*starts)}
    assert len(names) == 1
    assert (await ingest.other().start(1000, request_id=request_id)).name not in names


async def test_fifty_uploads_of_the_same_bytes_are_one_audio(ingest: Ingest) -> None:
    """Duplicates at the same time are all answered, and stored once."""
    data = song(8)
    names = await asyncio.gather(*(ingest.store(data) for _ in range(50)))
    assert {audio.name for audio in names} == {f"audio/{sha256(data)}"}


async def test_what_somebody_else_stored_takes_as_long(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """The second owner's upload is decoded like the first's, and leaves nothing beside it."""
    data = encoded(noise(44100 * 120, seed=90), container="FLAC")
    took = []
    for caller in (ingest, ingest.other(), ingest.other()):
        upload = await caller.start(len(data))
        await caller.write(upload.name, data)
        began = time.perf_counter()
        finishing = upload_pb2.WriteUploadRequest(
            upload=upload.name, offset_bytes=len(data), finish=True
        )
        assert (await caller.WriteUpload([finishing])).audio.name == f"audio/{sha256(data)}"
        took.append(time.perf_counter() - began)
        left = prefix(upload.name.removeprefix("uploads/"))
        assert await seen(lambda left=left: not keys(shared_settings, left))
    assert min(took[1:]) > 0.4 * took[0]


async def test_an_upload_that_ends_while_it_is_finished_is_gone(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """Where the sweep takes what was written before it is read, the upload is not found."""
    data = song(14)
    upload = await ingest.start(len(data))
    await ingest.write(upload.name, data)
    written = prefix(upload.name.removeprefix("uploads/"))
    for key in keys(shared_settings, written):
        bucket_of(shared_settings).remove_object(
            bucket_name=shared_settings.objects_bucket, object_name=key
        )
    finish = upload_pb2.FinishUploadRequest(name=upload.name)
    assert (await refusal(ingest.FinishUpload(finish))).reason == "UPLOAD_NOT_FOUND"


async def test_checksums_of_chunks_are_checked(ingest: Ingest) -> None:
    """A chunk whose CRC32C differs ends the stream; what came before it is kept."""
    data = song(9)
    upload = await ingest.start(len(data))

    async def broken() -> AsyncIterator[upload_pb2.WriteUploadRequest]:
        crc = google_crc32c.value(data[:5000])
        yield upload_pb2.WriteUploadRequest(upload=upload.name, data=data[:5000], crc32c=crc)
        yield upload_pb2.WriteUploadRequest(offset_bytes=5000, data=data[5000:6000], crc32c=1)

    found = await refusal(ingest.WriteUpload(broken()))
    assert (found.code, found.reason) == (grpc.StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH")
    assert found.metadata["of"] == "chunk"
    assert await ingest.committed(upload.name) == 5000


async def test_a_wrong_digest_ends_the_upload(ingest: Ingest) -> None:
    """The whole is checked against the announced SHA-256; a mismatch leaves nothing."""
    data = song(10)
    upload = await ingest.start(len(data), sha256=sha256(b"something else"))
    found = await refusal(ingest.write(upload.name, data, finish=True))
    assert (found.code, found.metadata["of"]) == (grpc.StatusCode.DATA_LOSS, "whole")
    gone = await refusal(ingest.committed(upload.name))
    assert gone.reason == "UPLOAD_NOT_FOUND"


@pytest.mark.parametrize(("announced", "sent"), [(1000, 1001), (1001, 1000)])
async def test_sizes_must_agree(ingest: Ingest, announced: int, sent: int) -> None:
    """More bytes than announced, or fewer at finish, are refused; the upload stays."""
    upload = await ingest.start(announced)
    found = await refusal(ingest.write(upload.name, bytes(sent), finish=True))
    assert (found.code, found.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPLOAD_SIZE_MISMATCH",
    )
    assert await ingest.committed(upload.name) <= announced


async def test_messages_come_in_order(ingest: Ingest) -> None:
    """The first message names the upload, later ones no other, and none follows finish."""
    first, other = await ingest.start(100), await ingest.start(100)

    def streams() -> Iterator[list[upload_pb2.WriteUploadRequest]]:
        write = upload_pb2.WriteUploadRequest
        yield [write(data=b"x")]
        yield [write(upload=first.name, data=b"x"), write(upload=other.name, offset_bytes=1)]
        yield [write(upload=first.name, data=bytes(100), finish=True), write(data=b"x")]

    for messages in streams():
        found = await refusal(ingest.WriteUpload(messages))
        assert (found.code, found.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "STREAM_OUT_OF_ORDER",
        )
    assert (await refusal(ingest.WriteUpload([]))).reason == "STREAM_OUT_OF_ORDER"


async def test_an_upload_is_its_owners_alone(ingest: Ingest) -> None:
    """Of somebody else's upload one learns nothing, not even that it exists."""
    upload = await ingest.start(1000)
    stranger = ingest.other()
    for call in (
        stranger.committed(upload.name),
        stranger.write(upload.name, b"x"),
        stranger.CancelUpload(upload_pb2.CancelUploadRequest(name=upload.name)),
        stranger.FinishUpload(upload_pb2.FinishUploadRequest(name=upload.name)),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND")
    assert await ingest.committed(upload.name) == 0


async def test_known_bytes_need_no_upload_but_only_for_their_owner(ingest: Ingest) -> None:
    """ALREADY_EXISTS tells of the caller's own audio; to others the upload runs as if new."""
    data = song(11)
    audio = await ingest.store(data)
    found = await refusal(ingest.start(len(data), sha256=sha256(data)))
    assert (found.code, found.metadata["audio"]) == (grpc.StatusCode.ALREADY_EXISTS, audio.name)
    stranger = ingest.other()
    assert (await stranger.store(data, sha256=sha256(data))).name == audio.name
    ask = upload_pb2.FindMissingRequest(sha256=[sha256(b"?"), sha256(data)])
    assert list((await ingest.FindMissing(ask)).sha256) == [sha256(b"?")]
    assert len((await ingest.other().FindMissing(ask)).sha256) == 2


async def test_a_cancelled_upload_leaves_nothing(ingest: Ingest, shared_settings: Settings) -> None:
    """Cancelling forgets the upload and removes what it stored."""
    upload = await ingest.start(100_000)
    await ingest.write(upload.name, bytes(50_000))
    assert keys(shared_settings, f"{upload.name}/")
    await ingest.CancelUpload(upload_pb2.CancelUploadRequest(name=upload.name))
    assert (await refusal(ingest.committed(upload.name))).reason == "UPLOAD_NOT_FOUND"
    assert await seen(lambda: not keys(shared_settings, f"{upload.name}/"))


async def test_a_finished_upload_leaves_only_the_audio(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """Staged parts are removed once the audio is stored."""
    data = song(12)
    upload = await ingest.start(len(data))
    audio = (await ingest.write(upload.name, data, finish=True)).audio
    assert await seen(lambda: not keys(shared_settings, f"{upload.name}/"))
    digest = audio.name.removeprefix("audio/")
    stored = {key for key in keys(shared_settings) if digest in key}
    assert stored == {f"audio/{digest}", f"pcm/{digest}", f"overview/{digest}"}


async def test_a_broken_stream_keeps_what_it_brought(ingest: Ingest) -> None:
    """Bytes of a stream that the client cancels are committed still."""
    upload = await ingest.start(1_000_000)
    call = ingest.WriteUpload()
    await call.write(upload_pb2.WriteUploadRequest(upload=upload.name, data=bytes(300_000)))
    await asyncio.sleep(0.3)
    call.cancel()
    for _ in range(100):
        committed = await ingest.committed(upload.name)
        if committed:
            break
        await asyncio.sleep(0.05)
    assert committed == 300_000


async def test_put_audio_stores_a_whole_file_in_one_stream(ingest: Ingest) -> None:
    """What curl sends is stored like any upload, also when it is there already."""
    data = song(13)

    def stream() -> Iterator[upload_pb2.PutAudioRequest]:
        for start in range(0, len(data), 10_000):
            body = httpbody_pb2.HttpBody(data=data[start : start + 10_000])
            yield upload_pb2.PutAudioRequest(file_name="take.wav", title="Take", body=body)

    audio = (await ingest.PutAudio(stream())).audio
    assert (audio.name, audio.title) == (f"audio/{sha256(data)}", "Take")
    assert (await ingest.PutAudio(stream())).audio.name == audio.name
    assert (await refusal(ingest.PutAudio([]))).reason == "STREAM_OUT_OF_ORDER"


async def test_a_file_put_to_its_signed_url_is_finished(ingest: Ingest) -> None:
    """A whole file may be PUT to storage; FinishUpload checks and names it."""
    import urllib3

    data = song(14)
    upload = await ingest.start(len(data), sha256=sha256(data), signed_put=True)
    finish = upload_pb2.FinishUploadRequest(name=upload.name)
    assert (await refusal(ingest.FinishUpload(finish))).reason == "UPLOAD_SIZE_MISMATCH"
    put = await asyncio.to_thread(urllib3.request, "PUT", upload.put_url, body=data)
    assert put.status == 200
    audio = (await ingest.FinishUpload(finish)).audio
    assert (await ingest.FinishUpload(finish)).audio.name == audio.name == f"audio/{sha256(data)}"


async def test_many_parts_of_any_size_make_the_file_again(ingest: Ingest) -> None:
    """An upload of twenty streams, each a few bytes to some MiB, is stored whole."""
    data = song(15, 44100 * 60)
    sizes = noise(19, 1, seed=15).ravel() % 997 + 1
    edges = [0, *(int(size) * len(data) // 20_000 for size in sizes.cumsum()), len(data)]
    upload = await ingest.start(len(data))
    for start, end in itertools.pairwise(edges):
        reply = await ingest.write(upload.name, data[start:end], start, finish=end == len(data))
    assert reply.audio.name == f"audio/{sha256(data)}"
    assert sha256(await ingest.original(reply.audio.name)) == sha256(data)


async def test_an_error_reaches_a_client_that_is_still_sending(ingest: Ingest) -> None:
    """The status is the server's, and not that of a write which broke off."""
    data = bytes(8 << 20)
    calls = (ingest.write(f"uploads/{uuid.uuid4()}", data) for _ in range(12))
    found = [await refusal(call) for call in calls]
    assert {error.reason for error in found} == {"UPLOAD_NOT_FOUND"}
