"""A server for tests: one method of each cardinality, answered by whatever a test hands in."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from chorale.ingest.v1 import (
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    reading_pb2,
    upload_pb2,
)
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2, mastering_service_pb2_grpc
from chorale_runtime.app import App, Service
from chorale_runtime.errors import ErrorTable
from chorale_runtime.lifecycle import RunningServer, running
from chorale_runtime.probes import Probe
from chorale_runtime.settings import ServerSettings
from google.rpc import error_details_pb2, status_pb2

UPLOAD = "uploads/5d0c0000-0000-4000-8000-000000000000"
AUDIO = f"audio/{'0' * 64}"
CARDINALITIES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


async def nothing(*_: object) -> None:
    """Does nothing before the answer."""


@dataclass
class Songs:
    """What happens inside the methods: before the first answer, and after it."""

    before: Callable[..., Any] = nothing
    after: Callable[..., Any] = nothing
    seen: list[Any] = field(default_factory=list)


class Ingest(ingest_service_pb2_grpc.IngestServiceServicer):
    """Three cardinalities over messages of the real contract."""

    def __init__(self, songs: Songs) -> None:
        self._songs = songs

    async def GetUpload(self, request: Any, context: Any) -> Any:
        """unary_unary"""
        await self._songs.before(request, context)
        return upload_pb2.GetUploadResponse(upload=upload_pb2.Upload(name=request.name))

    async def ReadBytes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """unary_stream"""
        await self._songs.before(request, context)
        yield reading_pb2.ReadBytesResponse(data=b"first")
        await self._songs.after(request, context)
        yield reading_pb2.ReadBytesResponse(data=b"second")

    async def WriteUpload(self, requests: Any, context: Any) -> Any:
        """stream_unary"""
        await self._songs.before(None, context)
        size = 0
        async for request in requests:
            self._songs.seen.append(request.offset_bytes)
            size += len(request.data)
        await self._songs.after(None, context)
        return upload_pb2.WriteUploadResponse(committed_bytes=size)


class Mastering(mastering_service_pb2_grpc.MasteringServiceServicer):
    """The fourth."""

    def __init__(self, songs: Songs) -> None:
        self._songs = songs

    async def MeterStream(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """stream_stream"""
        await self._songs.before(None, context)
        revision = 0
        async for _ in requests:
            revision += 1
            yield loudness_pb2.MeterStreamResponse(revision=revision)
            await self._songs.after(None, context)


def app(
    songs: Songs,
    errors: ErrorTable | None = None,
    probes: Mapping[str, Probe] | None = None,
    deadlines: Mapping[str, float] | None = None,
) -> App:
    """The two services above."""
    ingest = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]
    mastering = mastering_service_pb2.DESCRIPTOR.services_by_name["MasteringService"]
    return App(
        "songs",
        (
            Service(
                ingest,
                Ingest(songs),
                ingest_service_pb2_grpc.add_IngestServiceServicer_to_server,
            ),
            Service(
                mastering,
                Mastering(songs),
                mastering_service_pb2_grpc.add_MasteringServiceServicer_to_server,
            ),
        ),
        errors or {},
        probes or {},
        deadlines or {},
    )


class Stubs:
    """Calls each method by its cardinality, with requests that are in order."""

    def __init__(self, channel: Any) -> None:
        self.ingest = ingest_service_pb2_grpc.IngestServiceStub(channel)
        self.mastering = mastering_service_pb2_grpc.MasteringServiceStub(channel)

    async def call(
        self, cardinality: str, into: list[Any] | None = None, **options: Any
    ) -> list[Any]:
        """Makes one call and returns all its answers; `into` keeps those before an error."""
        answers: list[Any] = [] if into is None else into
        if cardinality == "unary_unary":
            named = upload_pb2.GetUploadRequest(name=UPLOAD)
            answers.append(await self.ingest.GetUpload(named, **options))
        elif cardinality == "unary_stream":
            request = reading_pb2.ReadBytesRequest(audio=AUDIO)
            await _take(self.ingest.ReadBytes(request, **options), answers)
        elif cardinality == "stream_unary":
            answers.append(await self.ingest.WriteUpload(chunks(3), **options))
        else:
            await _take(self.mastering.MeterStream(frames(3), **options), answers)
        return answers


async def _take(stream: AsyncIterator[Any], answers: list[Any]) -> None:
    async for answer in stream:
        answers.append(answer)  # noqa: PERF401 - an error must not lose those before it


async def chunks(count: int, size: int = 10) -> AsyncIterator[Any]:
    """Requests for stream_unary."""
    for number in range(count):
        yield upload_pb2.WriteUploadRequest(
            upload=UPLOAD, offset_bytes=number * size, data=b"x" * size
        )


async def frames(count: int) -> AsyncIterator[Any]:
    """Requests for stream_stream."""
    for _ in range(count):
        yield loudness_pb2.MeterStreamRequest(frames=b"\0" * 8)


@dataclass
class Running:
    """A server in this loop and a way to call it."""

    server: RunningServer
    stubs: Stubs
    channel: Any


@asynccontextmanager
async def serving(
    songs: Songs | None = None,
    settings: ServerSettings | None = None,
    channel: Any = None,
    **parts: Any,
) -> AsyncIterator[Running]:
    """Runs the server of `app(...)`."""

    @asynccontextmanager
    async def build(_: ServerSettings) -> AsyncIterator[App]:
        yield app(songs or Songs(), **parts)

    async with AsyncExitStack() as stack:
        asked = settings or ServerSettings(drain_seconds=0.2)
        server = await stack.enter_async_context(running(asked, build))
        opened = channel(server.address) if channel else grpc.aio.insecure_channel(server.address)
        await stack.enter_async_context(opened)
        yield Running(server, Stubs(opened), opened)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status of an error, which must agree with its code and text."""
    trailers: Any = error.trailing_metadata()
    for key, value in trailers or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            assert status.code == error.code().value[0]
            assert status.message == error.details()
            return status
    raise AssertionError(f"no status in {error}")


def detail(status: status_pb2.Status, kind: Any) -> Any:
    """The detail of this type; exactly one must be there."""
    found = [any_ for any_ in status.details if any_.Is(kind.DESCRIPTOR)]
    assert len(found) == 1, f"{len(found)} details of {kind.DESCRIPTOR.full_name}"
    message = kind()
    found[0].Unpack(message)
    return message


def info(error: grpc.aio.AioRpcError) -> Any:
    """The ErrorInfo of an error."""
    return detail(status_of(error), error_details_pb2.ErrorInfo)
