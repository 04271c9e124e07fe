"""What ingest's tests share: a caller of the service, the service as a process, sounds."""

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc, reading_pb2, upload_pb2
from chorale_ingest.app import build
from chorale_ingest.settings import Settings
from chorale_runtime.server import running
from chorale_runtime.settings import environment
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from minio import Minio

CHUNK_BYTES = 256 << 10
START_SECONDS = 60.0


def stub(channel: grpc.aio.Channel) -> Any:
    """The generated stub, whose types do not know of aio."""
    return ingest_service_pb2_grpc.IngestServiceStub(channel)


class Ingest:
    """A caller of the service, with the steps that tests repeat."""

    def __init__(self, channel: grpc.aio.Channel, principal: str = "", tier: str = "") -> None:
        self.channel, self.principal = channel, principal
        self._stub: Any = stub(channel)
        told = {"chorale-on-behalf-of": principal, "chorale-on-behalf-of-tier": tier}
        self._metadata = [(key, value) for key, value in told.items() if value]

    def __getattr__(self, rpc: str) -> Any:
        """Any RPC, called as this caller."""
        return partial(getattr(self._stub, rpc), metadata=self._metadata, timeout=60)

    def other(self, principal: str = "", tier: str = "") -> "Ingest":
        """Somebody else, on the same connection."""
        return Ingest(self.channel, principal or f"p-{uuid.uuid4().hex[:8]}", tier)

    async def start(self, size_bytes: int, **fields: Any) -> upload_pb2.Upload:
        """Open an upload."""
        request = upload_pb2.StartUploadRequest(
            **{"size_bytes": size_bytes, "request_id": str(uuid.uuid4()), **fields}
        )
        upload: upload_pb2.Upload = (await self.StartUpload(request)).upload
        return upload

    async def write(
        self, upload: str, data: bytes, offset: int = 0, *, finish: bool = False, **fields: Any
    ) -> upload_pb2.WriteUploadResponse:
        """Write bytes in one stream."""
        requests = writes(upload, data, offset, finish=finish, **fields)
        reply: upload_pb2.WriteUploadResponse = await self.WriteUpload(requests)
        return reply

    async def committed(self, upload: str) -> int:
        """How much of an upload is safe."""
        request = upload_pb2.GetUploadRequest(name=upload)
        return int((await self.GetUpload(request)).upload.committed_bytes)

    async def store(self, data: bytes, **fields: Any) -> audio_pb2.Audio:
        """Upload a whole file."""
        upload = await self.start(len(data), **fields)
        return (await self.write(upload.name, data, finish=True)).audio

    async def get(self, name: str) -> audio_pb2.Audio:
        """Describe audio."""
        audio: audio_pb2.Audio = (await self.GetAudio(audio_pb2.GetAudioRequest(name=name))).audio
        return audio

    async def delete(self, name: str) -> list[str]:
        """Delete audio."""
        return list((await self.DeleteAudio(audio_pb2.DeleteAudioRequest(name=name))).deleted)

    async def original(self, name: str, **fields: Any) -> bytes:
        """Read the bytes as they came."""
        request = reading_pb2.ReadBytesRequest(audio=name, **fields)
        return b"".join([part.data async for part in self.ReadBytes(request)])

    async def frames(self, name: str, start: int = 0, count: int = 0, **fields: Any) -> Any:
        """Read frames, as an array of (frames, channels)."""
        request = reading_pb2.ReadFramesRequest(audio=name, **fields)
        request.span.start_frame, request.span.frame_count = start, count
        parts = [part async for part in self.ReadFrames(request)]
        expected = start
        for part in parts:
            assert part.start_frame == expected
            expected += len(part.pcm) // (4 * parts[0].format.channel_count)
        pcm = b"".join(part.pcm for part in parts)
        return np.frombuffer(pcm, "<f4").reshape(-1, parts[0].format.channel_count)


def writes(
    upload: str,
    data: bytes,
    offset: int = 0,
    *,
    finish: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
    **fields: Any,
) -> Iterable[upload_pb2.WriteUploadRequest]:
    """The messages of one stream."""
    starts = range(0, len(data), chunk_bytes) or [0]
    for start in starts:
        yield upload_pb2.WriteUploadRequest(
            upload=upload if start == 0 else "",
            offset_bytes=offset + start,
            data=data[start : start + chunk_bytes],
            finish=finish and start == starts[-1],
            **fields,
        )


def sha256(data: bytes) -> str:
    """The digest of a file."""
    return hashlib.sha256(data).hexdigest()


def noise(frame_count: int, channel_count: int = 2, seed: int = 0) -> Any:
    """Sixteen-bit noise that no two seeds share."""
    generator = np.random.default_rng(seed)
    return generator.integers(-32768, 32768, (frame_count, channel_count), dtype=np.int16)


def encoded(samples: Any, rate: int = 44100, container: str = "WAV", subtype: str = "") -> bytes:
    """A file of these samples."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype or None)
    return file.getvalue()


def song(seed: int, frame_count: int = 22050) -> bytes:
    """A small file that nobody stored before."""
    return encoded(noise(frame_count, seed=seed))


@dataclass(frozen=True)
class Refusal:
    """An error as a caller sees it."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    message: str
    details: tuple[str, ...]


async def refusal(call: Awaitable[Any]) -> Refusal:
    """The error that a call ends with; it must end with one."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def drained(stream: AsyncIterator[Any]) -> list[Any]:
    """Everything that a stream brings."""
    return [message async for message in stream]


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Read the status of an error."""
    status, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    kinds = tuple(detail.TypeName().rpartition(".")[2] for detail in status.details)
    return Refusal(error.code(), info.reason, dict(info.metadata), error.details() or "", kinds)


class Process:
    """The service in a process of its own: what a crash happens to."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._announce = folder / f"announce-{uuid.uuid4().hex}.json"
        self._settings = replace(settings, announce_file=str(self._announce))
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._announce.unlink(missing_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CHORALE_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chorale_ingest"],
                env={**kept, **dict(environment(self._settings))},
                stderr=log,
                stdout=log,
            )
        self.address = self._announced()
        with grpc.insecure_channel(self.address) as channel:
            self._until_serving(health_pb2_grpc.HealthStub(channel))

    def kill(self) -> None:
        """Kill it as the kernel would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def has_ended(self) -> bool:
        """Whether it is gone."""
        assert self._process is not None
        return self._process.poll() is not None

    def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=40)

    def log(self) -> str:
        """What it told."""
        return self._log.read_text()

    def _announced(self) -> str:
        for _ in _patience():
            if self._announce.exists():
                return str(json.loads(self._announce.read_text())["address"])
            assert self._process is not None
            assert self._process.poll() is None, self.log()
        raise AssertionError(f"The service did not start:\n{self.log()}")

    def _until_serving(self, stub: Any) -> None:
        wanted = health_pb2.HealthCheckRequest(service="chorale.ingest.v1.IngestService")
        for _ in _patience():
            try:
                if stub.Check(wanted).status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                continue
        raise AssertionError(f"The service did not serve:\n{self.log()}")


def _patience() -> Iterator[None]:

    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        yield
        time.sleep(0.05)


def settings_on(database_url: str, object_server: Any, bucket: str) -> Settings:
    """Settings of a service on this storage."""
    return Settings(
        database_url=database_url,
        objects_endpoint=object_server.endpoint,
        objects_access_key=object_server.access_key,
        objects_secret_key=object_server.secret_key,
        objects_bucket=bucket,
        sweep_seconds=3600,
        drain_seconds=1,
    )


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Ingest]:
    """A service in this loop, for tests that need settings of their own, and its caller."""
    async with (
        running(settings, build) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Ingest(channel)


def bucket_of(settings: Settings) -> Minio:
    """A client of the storage itself."""
    return Minio(
        endpoint=settings.objects_endpoint,
        access_key=settings.objects_access_key,
        secret_key=settings.objects_secret_key,
        secure=False,
    )


def keys(settings: Settings, prefix: str = "") -> set[str]:
    """Which objects there are."""
    found = bucket_of(settings).list_objects(
        bucket_name=settings.objects_bucket, prefix=prefix, recursive=True
    )
    return {each.object_name or "" for each in found}


def seen(condition: Any) -> Any:
    """Whether a background deed is done soon: polls for some seconds."""

    async def wait() -> bool:
        for _ in range(100):
            if condition():
                return True
            await asyncio.sleep(0.05)
        return False

    return wait()
