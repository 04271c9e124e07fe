"""Puts bytes into the mesh: in order, resumed after every break from where the server stands."""

import asyncio
import functools
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from chorale.ingest.v1.audio_pb2 import Audio, GetAudioRequest, GetAudioResponse
from chorale.ingest.v1.upload_pb2 import (
    AudioDetails,
    GetUploadRequest,
    GetUploadResponse,
    StartUploadRequest,
    StartUploadResponse,
    Upload,
    WriteUploadRequest,
    WriteUploadResponse,
)

from chorale_client.errors import (
    ChoraleError,
    ConflictError,
    DataLossError,
    DeadlineError,
    RequestError,
)
from chorale_client.failures import is_damaged_chunk, is_passing
from chorale_client.patience import Backoff, Deadline
from chorale_client.sources import Source

CHUNK_BYTES = 1 << 20  # the contract's most
HEARTBEAT_SECONDS = 10.0  # an idle stream is cut by proxies; an empty chunk keeps it alive
REPAIRS_MAX = 3  # damaged chunks in a row, after which the way is called broken

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


@dataclass(frozen=True)
class Order:
    """What is to be stored, and how it will be described."""

    source: Source
    details: AudioDetails
    file_name: str
    request_id: str = ""
    progress: Progress | None = None


async def upload(ingest: Any, order: Order, deadline: Deadline) -> Audio:
    """Stores `order.source` through the stub `ingest`; everything within `deadline`."""
    if order.source.size_bytes == 0:
        raise RequestError(
            f"{order.file_name or 'The source'} is empty; audio has at least one byte.",
            reason="REQUEST_INVALID",
            metadata={"field": "size_bytes"},
        )
    _settle_allocator()
    sha256 = await order.source.sha256()
    try:
        begun = await _start(ingest, order, sha256, deadline)
    except ConflictError as error:
        if error.reason != "AUDIO_EXISTS":
            raise
        _report(order, order.source.size_bytes)  # it is there already
        return await _describe(ingest, error.metadata.get("audio") or f"audio/{sha256}", deadline)
    audio = await _write_all(ingest, order, begun, deadline)
    return await _checked(order, audio)


@functools.cache
def _settle_allocator() -> None:
    """Keeps glibc from returning every chunk's memory to the system and faulting it in anew.

    It costs 500 page faults and 1.5 ms of CPU per MiB (measured), and glibc stops doing it once a
    larger block was freed. Elsewhere this does nothing.
    """
    bytes(16 << 20)


async def _start(ingest: Any, order: Order, sha256: str, deadline: Deadline) -> Upload:
    request = StartUploadRequest(
        sha256=sha256,
        size_bytes=order.source.size_bytes,
        request_id=order.request_id or str(uuid.uuid4()),
        file_name=order.file_name,
        details=order.details,
    )
    answer: StartUploadResponse = await _patiently(ingest.StartUpload, request, deadline)
    return answer.upload


async def _write_all(ingest: Any, order: Order, upload: Upload, deadline: Deadline) -> Audio:
    """Writes, and after every break writes on, until the server has named the audio."""
    backoff = Backoff()
    repairs = 0
    while not upload.audio:
        try:
            answer = await _write(ingest, order, upload, deadline)
            if answer.HasField("audio"):
                return answer.audio
            broken = None  # the server ended the stream early, in good order: it is draining
        except ChoraleError as error:
            repairs = repairs + 1 if is_damaged_chunk(error) else 0
            if repairs > REPAIRS_MAX or not (repairs or is_passing(error)):
                raise
            broken = error
        stood_bytes = upload.committed_bytes
        upload = await _look(ingest, upload.name, deadline)
        if upload.committed_bytes > stood_bytes:
            backoff.progressed()
        elif broken is not None and not upload.audio:
            await backoff.wait(broken, deadline)
    return await _describe(ingest, upload.audio, deadline)


async def _write(
    ingest: Any, order: Order, upload: Upload, deadline: Deadline
) -> WriteUploadResponse:
    """One stream, from `upload.committed_bytes` to the end or to where it breaks."""
    stream = await ingest.WriteUpload.open(timeout=deadline.left_seconds)
    try:
        async for message in _messages(order.source, upload):
            if not await stream.write(message):
                break
            _report(order, message.offset_bytes + len(message.data))
        answer: WriteUploadResponse = await stream.answer()
        return answer
    finally:
        stream.cancel()


async def _messages(source: Source, upload: Upload) -> AsyncIterator[WriteUploadRequest]:
    """Chunks from where the upload stands; the next is read while one is being sent."""
    offset = upload.committed_bytes
    coming = asyncio.ensure_future(source.read(offset, CHUNK_BYTES))
    try:
        while True:
            while not coming.done():
                await asyncio.wait({coming}, timeout=HEARTBEAT_SECONDS)
                if not coming.done():
                    yield WriteUploadRequest(upload=upload.name, offset_bytes=offset)
            data = coming.result()
            end = offset + len(data)
            finish = end >= source.size_bytes
            if not finish:
                coming = asyncio.ensure_future(source.read(end, CHUNK_BYTES))
            yield WriteUploadRequest(
                upload=upload.name, offset_bytes=offset, data=data, finish=finish
            )
            if finish:
                return
            offset = end
    finally:
        coming.cancel()


async def _look(ingest: Any, name: str, deadline: Deadline) -> Upload:
    answer: GetUploadResponse = await _patiently(
        ingest.GetUpload, GetUploadRequest(name=name), deadline
    )
    return answer.upload


async def _describe(ingest: Any, name: str, deadline: Deadline) -> Audio:
    answer: GetAudioResponse = await _patiently(
        ingest.GetAudio, GetAudioRequest(name=name), deadline
    )
    return answer.audio


async def _patiently(rpc: Any, request: Any, deadline: Deadline) -> Any:
    """A small call of a large piece of work: tried for as long as the whole may take."""
    backoff = Backoff()
    while True:
        try:
            return await rpc(request, timeout=min(30.0, deadline.left_seconds))
        except ChoraleError as error:
            if not (is_passing(error) or isinstance(error, DeadlineError)):
                raise
            await backoff.wait(error, deadline)


def _report(order: Order, done_bytes: int) -> None:
    if order.progress is not None:
        order.progress(done_bytes, order.source.size_bytes)


async def _checked(order: Order, audio: Audio) -> Audio:
    """The audio, if its name is the digest of what was sent."""
    sha256 = await order.source.sha256()
    if sha256 and audio.name != f"audio/{sha256}":
        raise DataLossError(
            f"The server stored {audio.name}; what was sent has the digest {sha256}.",
            reason="CHECKSUM_MISMATCH",
            metadata={"of": "whole", "expected": sha256, "found": audio.name},
        )
    return audio
