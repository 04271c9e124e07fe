"""Ingest without a disk: obeys every law of uploading and reading, and forgets on exit.

`laws_upload.py` holds it to what it stands for: the same laws run against the real ingest.
"""

import asyncio
import hashlib
import io
import uuid
import wave
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import numpy as np
from chorale.audio.v1.audio_pb2 import PcmFormat
from chorale.engines.v1.engine_pb2 import Engine
from chorale.ingest.v1 import (
    audio_pb2,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    reading_pb2,
    upload_pb2,
    usage_pb2,
)
from client_songs import crc32c, pcm
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

CHUNK_BYTES = 1 << 20
PCM_CHUNK_BYTES = 256 << 10


def status(
    code: int, reason: str, message: str = "", retry_seconds: float = 0, **metadata: object
) -> status_pb2.Status:
    """A `google.rpc.Status` as the mesh makes it."""
    made = status_pb2.Status(code=code, message=message or f"It is {reason}.")
    info = error_details_pb2.ErrorInfo(reason=reason, domain="ingest.chorale")
    info.metadata.update({key: str(value) for key, value in metadata.items()})
    made.details.add().Pack(info)
    if retry_seconds:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(retry_seconds * 1e9))
        made.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return made


async def abort(context: Any, failure: status_pb2.Status) -> NoReturn:
    """Ends the call with that status."""
    code = next(code for code in grpc.StatusCode if code.value[0] == failure.code)
    trailers = (("grpc-status-details-bin", failure.SerializeToString()),)
    await context.abort(code, failure.message, trailing_metadata=trailers)
    raise AssertionError("abort returned")


@dataclass
class StoredUpload:
    """An upload and who writes to it now."""

    owner: str
    request: upload_pb2.StartUploadRequest
    name: str = field(default_factory=lambda: f"uploads/{uuid.uuid4()}")
    data: bytearray = field(default_factory=bytearray)
    audio: str = ""
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)

    def message(self) -> upload_pb2.Upload:
        """As `GetUpload` tells it."""
        return upload_pb2.Upload(
            name=self.name,
            committed_bytes=len(self.data),
            size_bytes=self.request.size_bytes,
            audio=self.audio,
        )


@dataclass
class StoredAudio:
    """Bytes and what was decoded from them."""

    data: bytes
    pcm: np.ndarray[Any, np.dtype[np.float32]]  # (frames, channels)
    message: audio_pb2.Audio


class MemoryIngest(ingest_service_pb2_grpc.IngestServiceServicer):
    """Answers IngestService from memory. The bearer token is the principal."""

    def __init__(self) -> None:
        self.uploads: dict[str, StoredUpload] = {}
        self.audio: dict[tuple[str, str], StoredAudio] = {}
        self.received_bytes = 0  # of `data`, over all streams: what a resume sent twice shows here
        self.streams = 0
        self.failures: deque[status_pb2.Status | None] = deque()  # the next calls' ends; None: well
        self.metadata: list[dict[str, str]] = []  # what the calls carried
        self.chunk_seconds = 0.0  # slows reading down

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves it."""
        ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(self, server)

    async def StartUpload(self, request: Any, context: Any) -> upload_pb2.StartUploadResponse:
        owner = await self._enter(context)
        for upload in self.uploads.values():
            if (upload.owner, upload.request.request_id) == (owner, request.request_id):
                return upload_pb2.StartUploadResponse(upload=upload.message())
        name = f"audio/{request.sha256}"
        if (owner, name) in self.audio:
            await abort(context, status(code_pb2.ALREADY_EXISTS, "AUDIO_EXISTS", audio=name))
        upload = StoredUpload(owner, request)
        self.uploads[upload.name] = upload
        return upload_pb2.StartUploadResponse(upload=upload.message())

    async def GetUpload(self, request: Any, context: Any) -> upload_pb2.GetUploadResponse:
        upload = await self._upload(request.name, await self._enter(context), context)
        return upload_pb2.GetUploadResponse(upload=upload.message())

    async def CancelUpload(self, request: Any, context: Any) -> upload_pb2.CancelUploadResponse:
        upload = await self._upload(request.name, await self._enter(context), context)
        upload.taken_over.set()
        upload.data.clear()
        del self.uploads[upload.name]
        return upload_pb2.CancelUploadResponse()

    async def WriteUpload(self, requests: Any, context: Any) -> upload_pb2.WriteUploadResponse:
        owner = await self._enter(context)
        self.streams += 1
        request = await anext(requests, None)
        if request is None or not request.upload:
            needed = "upload in the first message"
            await abort(
                context, status(code_pb2.INVALID_ARGUMENT, "STREAM_OUT_OF_ORDER", needed=needed)
            )
        upload = await self._upload(request.upload, owner, context)
        upload.taken_over.set()  # the newest stream writes
        mine = upload.taken_over = asyncio.Event()
        while request is not None:
            await self._take(upload, request, context)
            if request.finish:
                return upload_pb2.WriteUploadResponse(audio=await self._finish(upload, context))
            request = await self._next(requests, mine, upload, context)
        return upload_pb2.WriteUploadResponse(committed_bytes=len(upload.data))

    async def _next(
        self, requests: Any, mine: asyncio.Event, upload: StoredUpload, context: Any
    ) -> Any:
        coming = asyncio.ensure_future(anext(requests, None))
        replaced = asyncio.ensure_future(mine.wait())
        try:
            await asyncio.wait({coming, replaced}, return_when=asyncio.FIRST_COMPLETED)
            if mine.is_set():
                await abort(
                    context, status(code_pb2.ABORTED, "UPLOAD_CONTENDED", upload=upload.name)
                )
            return coming.result()
        finally:
            coming.cancel()
            replaced.cancel()

    async def _take(self, upload: StoredUpload, request: Any, context: Any) -> None:
        self.received_bytes += len(request.data)
        committed = len(upload.data)
        if request.offset_bytes > committed:
            await abort(
                context,
                status(
                    code_pb2.OUT_OF_RANGE,
                    "UPLOAD_GAP",
                    upload=upload.name,
                    offsetBytes=request.offset_bytes,
                    committedBytes=committed,
                ),
            )
        if request.HasField("crc32c") and request.crc32c != crc32c(request.data):
            await abort(context, status(code_pb2.DATA_LOSS, "CHECKSUM_MISMATCH", of="chunk"))
        if not upload.audio:
            upload.data += request.data[committed - request.offset_bytes :]
        if len(upload.data) > upload.request.size_bytes:
            del upload.data[upload.request.size_bytes :]
            await self._abort_size(upload, context)

    async def _finish(self, upload: StoredUpload, context: Any) -> audio_pb2.Audio:
        if upload.audio:
            return self.audio[upload.owner, upload.audio].message
        if len(upload.data) != upload.request.size_bytes:
            await self._abort_size(upload, context)
        data = bytes(upload.data)
        digest = hashlib.sha256(data).hexdigest()
        if upload.request.sha256 not in ("", digest):
            del self.uploads[upload.name]
            await abort(
                context,
                status(
                    code_pb2.DATA_LOSS,
                    "CHECKSUM_MISMATCH",
                    of="whole",
                    expected=upload.request.sha256,
                    found=digest,
                ),
            )
        try:
            stored = _decode(data, digest, upload.request)
        except (wave.Error, EOFError) as fault:
            del self.uploads[upload.name]
            await abort(context, status(code_pb2.INVALID_ARGUMENT, "UNDECODABLE", detail=fault))
        self.audio[upload.owner, stored.message.name] = stored
        upload.audio = stored.message.name
        return stored.message

    async def _abort_size(self, upload: StoredUpload, context: Any) -> None:
        await abort(
            context,
            status(
                code_pb2.FAILED_PRECONDITION,
                "UPLOAD_SIZE_MISMATCH",
                upload=upload.name,
                sizeBytes=upload.request.size_bytes,
                committedBytes=len(upload.data),
            ),
        )

    async def GetAudio(self, request: Any, context: Any) -> audio_pb2.GetAudioResponse:
        stored = await self._audio(request.name, await self._enter(context), context)
        return audio_pb2.GetAudioResponse(audio=stored.message)

    async def ListAudio(self, request: Any, context: Any) -> audio_pb2.ListAudioResponse:
        owner = await self._enter(context)
        newest_first = [
            stored.message for (whose, _), stored in reversed(self.audio.items()) if whose == owner
        ]
        fit = [audio for audio in newest_first if set(request.tags) <= set(audio.tags)]
        begin = int(request.page_token or 0)
        end = begin + (request.page_size or 50)
        token = str(end) if end < len(fit) else ""
        return audio_pb2.ListAudioResponse(audio=fit[begin:end], next_page_token=token)

    async def DeleteAudio(self, request: Any, context: Any) -> audio_pb2.DeleteAudioResponse:
        owner = await self._enter(context)
        await self._audio(request.name, owner, context)
        del self.audio[owner, request.name]
        return audio_pb2.DeleteAudioResponse(deleted=[request.name])

    async def ReadBytes(
        self, request: Any, context: Any
    ) -> AsyncIterator[reading_pb2.ReadBytesResponse]:
        stored = await self._audio(request.audio, await self._enter(context), context)
        size = len(stored.data)
        if request.offset_bytes > size:
            await abort(context, status(code_pb2.OUT_OF_RANGE, "SPAN_PAST_END"))
        end = (
            min(size, request.offset_bytes + request.length_bytes) if request.length_bytes else size
        )
        for offset in range(request.offset_bytes, end, CHUNK_BYTES):
            yield reading_pb2.ReadBytesResponse(
                offset_bytes=offset,
                data=stored.data[offset : min(end, offset + CHUNK_BYTES)],
                size_bytes=size if offset == request.offset_bytes else 0,
            )
            yield reading_pb2.ReadBytesResponse()  # a heartbeat
            await asyncio.sleep(self.chunk_seconds)

    async def ReadFrames(
        self, request: Any, context: Any
    ) -> AsyncIterator[reading_pb2.ReadFramesResponse]:
        stored = await self._audio(request.audio, await self._enter(context), context)
        signal = _resampled(stored, request.sample_rate_hz, request.channel_count)
        rate = request.sample_rate_hz or stored.message.format.sample_rate_hz
        begin, count = request.span.start_frame, request.span.frame_count
        if begin >= len(signal):
            await abort(context, status(code_pb2.OUT_OF_RANGE, "SPAN_PAST_END"))
        end = min(len(signal), begin + count) if count else len(signal)
        step = max(1, (request.chunk_bytes or PCM_CHUNK_BYTES) // (4 * signal.shape[1]))
        for start in range(begin, end, step):
            answer = reading_pb2.ReadFramesResponse(
                start_frame=start, pcm=signal[start : min(end, start + step)].tobytes()
            )
            if start == begin:
                answer.format.CopyFrom(
                    PcmFormat(sample_rate_hz=rate, channel_count=signal.shape[1])
                )
                answer.total_frames = len(signal)
            yield answer
            yield reading_pb2.ReadFramesResponse()  # a heartbeat
            await asyncio.sleep(self.chunk_seconds)

    async def ListEngines(
        self, request: Any, context: Any
    ) -> ingest_service_pb2.ListEnginesResponse:
        await self._enter(context)
        engine = Engine(name="wave", capability="decode", version="1", available=True)
        engines = [engine] if request.capability in ("", "decode") else []
        return ingest_service_pb2.ListEnginesResponse(engines=engines)

    async def GetUsage(self, request: Any, context: Any) -> usage_pb2.GetUsageResponse:
        return usage_pb2.GetUsageResponse(principal=await self._enter(context), tier="local")

    async def _enter(self, context: Any) -> str:
        """Notes the call, fails it when that is planned, and says who makes it."""
        metadata = dict(context.invocation_metadata() or ())
        self.metadata.append(metadata)
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            await abort(context, failure)
        return str(metadata.get("authorization", "Bearer local")).removeprefix("Bearer ")

    async def _upload(self, name: str, owner: str, context: Any) -> StoredUpload:
        upload = self.uploads.get(name)
        if upload is None or upload.owner != owner:
            await abort(context, status(code_pb2.NOT_FOUND, "UPLOAD_NOT_FOUND", upload=name))
        return upload

    async def _audio(self, name: str, owner: str, context: Any) -> StoredAudio:
        stored = self.audio.get((owner, name))
        if stored is None:
            await abort(context, status(code_pb2.NOT_FOUND, "AUDIO_NOT_FOUND", audio=name))
        return stored


def _decode(data: bytes, digest: str, request: upload_pb2.StartUploadRequest) -> StoredAudio:
    with wave.open(io.BytesIO(data)) as reader:
        rate, channels, count = reader.getframerate(), reader.getnchannels(), reader.getnframes()
    message = audio_pb2.Audio(
        name=f"audio/{digest}",
        format=PcmFormat(sample_rate_hz=rate, channel_count=channels),
        frame_count=count,
        duration_seconds=count / rate,
        size_bytes=len(data),
        container="wav",
        codec="pcm_s16le",
        file_name=request.file_name,
        title=request.details.title,
        tags=request.details.tags,
    )
    signal = np.frombuffer(pcm(data), dtype="<f4").reshape(-1, channels)
    return StoredAudio(data, signal, message)


def _resampled(stored: StoredAudio, rate_hz: int, channels: int) -> Any:
    """Plain linear interpolation over the whole: any frame is the same from wherever it is read."""
    signal = stored.pcm
    native_hz = stored.message.format.sample_rate_hz
    if channels == 1:
        signal = signal.mean(axis=1, keepdims=True, dtype=np.float32)
    if rate_hz in (0, native_hz):
        return np.ascontiguousarray(signal)
    at = np.arange(int(len(signal) * rate_hz / native_hz)) * (native_hz / rate_hz)
    columns = [np.interp(at, np.arange(len(signal)), column) for column in signal.T]
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)
