"""The laws of uploading, as plain functions over a client; `laws_reading.py` has those of reading.

Whatever calls itself ingest obeys them: `test_client_laws.py` runs them against the memory
ingest, the conformance tests against the real one. Each takes a client and a `seed` that has not
been used with its server before; `LAWS` lists them all. `STRANGER_LAWS` need a second client, of
another principal.
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from chorale.ingest.v1.audio_pb2 import GetAudioRequest
from chorale.ingest.v1.upload_pb2 import (
    CancelUploadRequest,
    GetUploadRequest,
    StartUploadRequest,
    Upload,
    WriteUploadRequest,
    WriteUploadResponse,
)
from chorale_client import AsyncChorale, ChoraleError
from client_songs import crc32c, song

CHUNK_BYTES = 256 << 10


async def law_bytes_are_stored_under_their_digest(chorale: AsyncChorale, seed: int) -> None:
    """The name of stored audio is the SHA-256 of its bytes, announced or not."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    answer = await _write(chorale, upload, wav)
    assert answer.audio.name == _name(wav)
    assert answer.audio.size_bytes == len(wav)
    assert answer.audio.frame_count == 44_100
    assert answer.audio.format.sample_rate_hz == 44_100
    assert answer.audio.format.channel_count == 2
    assert (await chorale.info(_name(wav))).name == _name(wav)


async def law_committed_bytes_never_decrease(chorale: AsyncChorale, seed: int) -> None:
    """However often a stream is left in the middle, what was committed stays committed."""
    wav = song(seed, frame_count=200_000)
    upload = await _start(chorale, wav)
    seen = [0]
    while seen[-1] < len(wav) - CHUNK_BYTES:
        chunk = wav[seen[-1] : seen[-1] + CHUNK_BYTES]
        await _leave_in_the_middle(chorale, upload, chunk, seen[-1])
        seen.append(await _committed(chorale, upload, at_least_bytes=seen[-1]))
        if len(seen) > 8:
            break  # a server that commits in larger parts shows no more than this
    assert seen == sorted(seen)
    answer = await _write(chorale, upload, wav, begin=seen[-1])
    assert answer.audio.name == _name(wav)


async def law_an_offset_already_committed_is_skipped(chorale: AsyncChorale, seed: int) -> None:
    """Bytes sent again are skipped without being compared: a client may overlap."""
    wav = song(seed, frame_count=4_000_000)
    upload = await _start(chorale, wav)
    stood = await _write(chorale, upload, wav[: len(wav) * 3 // 4], finish=False)
    committed = stood.committed_bytes
    assert 0 < committed <= len(wav) * 3 // 4
    other = bytes(committed - 1000) + wav[committed - 1000 :]  # what differs lies before
    answer = await _write(chorale, upload, other)
    assert answer.audio.name == _name(wav)


async def law_an_offset_past_the_committed_is_a_gap(chorale: AsyncChorale, seed: int) -> None:
    """Writing past what is stored is UPLOAD_GAP, and says where to go on."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    committed = (await _write(chorale, upload, wav[:1000], finish=False)).committed_bytes
    with fails("OUT_OF_RANGE", "UPLOAD_GAP") as failure:
        await _write(chorale, upload, wav, begin=2000)
    assert failure[0].metadata["committedBytes"] == str(committed)
    assert (await _write(chorale, upload, wav, begin=committed)).audio.name == _name(wav)


async def law_the_newest_writer_wins(chorale: AsyncChorale, seed: int) -> None:
    """Of two streams into one upload the older is told UPLOAD_CONTENDED; the newer finishes."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    older = await chorale.ingest.WriteUpload.open(timeout=20)
    await older.write(WriteUploadRequest(upload=upload.name, data=wav[:1000]))
    await asyncio.sleep(0.3)
    newer = asyncio.create_task(_write(chorale, upload, wav))
    with fails("ABORTED", "UPLOAD_CONTENDED"):
        for _ in range(100):  # until it is noticed
            if not await older.write(WriteUploadRequest(upload=upload.name)):
                break
            await asyncio.sleep(0.05)
        await older.answer()
    assert (await newer).audio.name == _name(wav)


async def law_finishing_twice_is_ok(chorale: AsyncChorale, seed: int) -> None:
    """Who missed the answer to `finish` asks again and gets the same audio."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    first = await _write(chorale, upload, wav)
    again = await _write(chorale, upload, b"", begin=len(wav))
    assert again.audio.name == first.audio.name == _name(wav)
    looked = await chorale.ingest.GetUpload(GetUploadRequest(name=upload.name))
    assert looked.upload.audio == _name(wav)


async def law_a_wrong_digest_is_data_loss(chorale: AsyncChorale, seed: int) -> None:
    """Bytes that are not what was announced are never stored."""
    wav = song(seed)
    upload = await _start(chorale, wav, sha256=hashlib.sha256(b"another").hexdigest())
    with fails("DATA_LOSS", "CHECKSUM_MISMATCH"):
        await _write(chorale, upload, wav)
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        await chorale.info(_name(wav))


async def law_a_damaged_chunk_is_refused_and_can_be_sent_again(
    chorale: AsyncChorale, seed: int
) -> None:
    """A chunk whose CRC32C differs is not committed; the upload goes on before it."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    good = WriteUploadRequest(upload=upload.name, data=wav[:1000], crc32c=crc32c(wav[:1000]))
    bad = WriteUploadRequest(offset_bytes=1000, data=wav[1000:2000], crc32c=crc32c(b"another"))
    with fails("DATA_LOSS", "CHECKSUM_MISMATCH") as failure:
        await chorale.ingest.WriteUpload(_each(good, bad), timeout=20)
    assert failure[0].metadata["of"] == "chunk"
    committed = await _committed(chorale, upload)
    assert committed <= 1000
    answer = await _write(chorale, upload, wav, begin=committed)
    assert answer.audio.name == _name(wav)


async def law_a_known_digest_needs_no_upload(chorale: AsyncChorale, seed: int) -> None:
    """Announcing what one has already is AUDIO_EXISTS, with its name."""
    wav = song(seed)
    await _write(chorale, await _start(chorale, wav), wav)
    with fails("ALREADY_EXISTS", "AUDIO_EXISTS") as failure:
        await _start(chorale, wav, sha256=hashlib.sha256(wav).hexdigest())
    assert failure[0].metadata["audio"] == _name(wav)


async def law_a_request_id_opens_one_upload(chorale: AsyncChorale, seed: int) -> None:
    """The same request_id is the same upload, as far as it has come."""
    wav = song(seed)
    request_id = str(uuid.uuid4())
    first = await _start(chorale, wav, request_id=request_id)
    stood = await _write(chorale, first, wav[:1000], finish=False)
    again = await _start(chorale, wav, request_id=request_id)
    assert (again.name, again.committed_bytes) == (first.name, stood.committed_bytes)
    other = await _start(chorale, wav)
    assert other.name != first.name


async def law_fifty_starts_at_once_open_one_upload(chorale: AsyncChorale, seed: int) -> None:
    """Idempotency holds among racing duplicates too."""
    wav = song(seed)
    request_id = str(uuid.uuid4())
    starts = [_start(chorale, wav, request_id=request_id) for _ in range(50)]
    assert len({upload.name for upload in await asyncio.gather(*starts)}) == 1


async def law_an_unknown_upload_is_not_found(chorale: AsyncChorale, seed: int) -> None:
    """Nobody has a name that was never given."""
    name = f"uploads/{uuid.uuid4()}"
    with fails("NOT_FOUND", "UPLOAD_NOT_FOUND"):
        await chorale.ingest.GetUpload(GetUploadRequest(name=name))
    with fails("NOT_FOUND", "UPLOAD_NOT_FOUND"):
        await _write(chorale, Upload(name=name), song(seed))


async def law_a_cancelled_upload_is_forgotten(chorale: AsyncChorale, seed: int) -> None:
    """After CancelUpload there is nothing to write to, and nothing was stored."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    await _write(chorale, upload, wav[:1000], finish=False)
    await chorale.ingest.CancelUpload(CancelUploadRequest(name=upload.name))
    with fails("NOT_FOUND", "UPLOAD_NOT_FOUND"):
        await _write(chorale, upload, wav)
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        await chorale.info(_name(wav))


async def law_the_first_message_names_the_upload(chorale: AsyncChorale, seed: int) -> None:
    """A stream that does not say where to write is STREAM_OUT_OF_ORDER."""
    with fails("INVALID_ARGUMENT", "STREAM_OUT_OF_ORDER"):
        await chorale.ingest.WriteUpload(
            _each(WriteUploadRequest(data=song(seed)[:10])), timeout=20
        )


async def law_more_bytes_than_announced_are_refused(chorale: AsyncChorale, seed: int) -> None:
    """An upload holds what was announced, not more."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    with fails("FAILED_PRECONDITION", "UPLOAD_SIZE_MISMATCH"):
        await _write(chorale, upload, wav + b"more")


async def law_fewer_bytes_than_announced_do_not_finish(chorale: AsyncChorale, seed: int) -> None:
    """`finish` before the end is refused, and the rest may still come."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    with fails("FAILED_PRECONDITION", "UPLOAD_SIZE_MISMATCH"):
        await _write(chorale, upload, wav[:-10])
    committed = await _committed(chorale, upload)
    assert (await _write(chorale, upload, wav, begin=committed)).audio.name == _name(wav)


async def law_empty_chunks_keep_a_stream_alive(chorale: AsyncChorale, seed: int) -> None:
    """A heartbeat changes nothing."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    answer = await chorale.ingest.WriteUpload(
        _each(
            WriteUploadRequest(upload=upload.name),
            WriteUploadRequest(data=wav[:1000]),
            WriteUploadRequest(upload=upload.name, offset_bytes=1000),
            WriteUploadRequest(offset_bytes=1000, data=wav[1000:]),
            WriteUploadRequest(offset_bytes=len(wav), finish=True),
        ),
        timeout=20,
    )
    assert answer.audio.name == _name(wav)


async def law_what_is_not_sound_is_refused(chorale: AsyncChorale, seed: int) -> None:
    """Bytes that no decoder understands are UNDECODABLE and are not stored."""
    text = f"This is not music, {seed}. ".encode() * 100
    with fails("INVALID_ARGUMENT", "UNDECODABLE"):
        await _write(chorale, await _start(chorale, text), text)
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        await chorale.info(_name(text))


async def law_strangers_learn_nothing(
    chorale: AsyncChorale, stranger: AsyncChorale, seed: int
) -> None:
    """Another's audio and uploads are as if they were not, and may be uploaded anew."""
    wav = song(seed)
    upload = await _start(chorale, wav)
    with fails("NOT_FOUND", "UPLOAD_NOT_FOUND"):
        await stranger.ingest.GetUpload(GetUploadRequest(name=upload.name))
    with fails("NOT_FOUND", "UPLOAD_NOT_FOUND"):
        await _write(stranger, upload, wav)
    name = (await _write(chorale, upload, wav)).audio.name
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        await stranger.ingest.GetAudio(GetAudioRequest(name=name))
    with fails("NOT_FOUND", "AUDIO_NOT_FOUND"):
        _ = [data async for data in stranger.read_bytes(name)]
    theirs = await _start(stranger, wav, sha256=hashlib.sha256(wav).hexdigest())
    assert theirs.committed_bytes == 0
    assert (await _write(stranger, theirs, wav)).audio.name == name
    await stranger.delete(name)
    assert (await chorale.info(name)).name == name


STRANGER_LAWS = (law_strangers_learn_nothing,)
LAWS = tuple(
    law
    for name, law in sorted(globals().items())
    if name.startswith("law_") and law not in STRANGER_LAWS
)


@contextmanager
def fails(code: str, reason: str) -> Iterator[list[ChoraleError]]:
    """Expects a failure with this code and reason; it is the list's only item afterwards."""
    caught: list[ChoraleError] = []
    try:
        yield caught
    except ChoraleError as error:
        caught.append(error)
        if (error.code, error.reason) != (code, reason):
            raise
        return
    raise AssertionError(f"Nothing failed; {code} ({reason}) was due.")


def _name(data: bytes) -> str:
    return f"audio/{hashlib.sha256(data).hexdigest()}"


async def _start(
    chorale: AsyncChorale, data: bytes, sha256: str = "", request_id: str = ""
) -> Upload:
    answer = await chorale.ingest.StartUpload(
        StartUploadRequest(
            sha256=sha256, size_bytes=len(data), request_id=request_id, file_name="law.wav"
        )
    )
    upload: Upload = answer.upload
    return upload


async def _write(
    chorale: AsyncChorale, upload: Upload, data: bytes, begin: int = 0, finish: bool = True
) -> WriteUploadResponse:
    """Writes `data` from byte `begin` on, in small chunks."""

    async def messages() -> AsyncGenerator[WriteUploadRequest]:
        for offset in range(begin, len(data), CHUNK_BYTES):
            chunk = data[offset : offset + CHUNK_BYTES]
            yield WriteUploadRequest(upload=upload.name, offset_bytes=offset, data=chunk)
        if finish:
            end = max(begin, len(data))
            yield WriteUploadRequest(upload=upload.name, offset_bytes=end, finish=True)
        elif begin >= len(data):
            yield WriteUploadRequest(upload=upload.name, offset_bytes=begin)

    answer: WriteUploadResponse = await chorale.ingest.WriteUpload(messages(), timeout=60)
    return answer


async def _leave_in_the_middle(
    chorale: AsyncChorale, upload: Upload, chunk: bytes, offset: int
) -> None:
    stream = await chorale.ingest.WriteUpload.open(timeout=20)
    await stream.write(WriteUploadRequest(upload=upload.name, offset_bytes=offset, data=chunk))
    await asyncio.sleep(0.05)
    stream.cancel()


async def _committed(chorale: AsyncChorale, upload: Upload, at_least_bytes: int = 0) -> int:
    answer = await chorale.ingest.GetUpload(GetUploadRequest(name=upload.name))
    committed: int = answer.upload.committed_bytes
    assert committed >= at_least_bytes
    return committed


async def _each(*messages: WriteUploadRequest) -> AsyncGenerator[WriteUploadRequest]:
    for message in messages:
        yield message
