"""`AsyncChorale`: the mesh, from a program with an event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, overload

from chorale.engines.v1.engine_pb2 import Engine
from chorale.ingest.v1 import reading_pb2
from chorale.ingest.v1.audio_pb2 import (
    Audio,
    DeleteAudioRequest,
    GetAudioRequest,
    GetAudioResponse,
    ListAudioRequest,
    ListAudioResponse,
    Privacy,
)
from chorale.ingest.v1.upload_pb2 import AudioDetails
from chorale.ingest.v1.usage_pb2 import GetUsageRequest, GetUsageResponse
from google.protobuf.message import Message

from chorale_client import addresses, credentials, reading, services, tracing
from chorale_client.credentials import Token
from chorale_client.download import download
from chorale_client.line import ChannelFactory, Metadata
from chorale_client.mesh import Mesh
from chorale_client.operations import AsyncOperation, AsyncOperations
from chorale_client.patience import Deadline, Patience
from chorale_client.reading import Frames, Span
from chorale_client.sources import Uploadable, opened
from chorale_client.upload import Order, Progress, upload

if TYPE_CHECKING:
    from chorale.analysis.v1.analysis_service_pb2_grpc import AnalysisServiceStub
    from chorale.fingerprint.v1.fingerprint_service_pb2_grpc import FingerprintServiceStub
    from chorale.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
    from chorale.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
    from chorale.mastering.v1.mastering_service_pb2_grpc import MasteringServiceStub

R = TypeVar("R", bound=Message)
AudioName = str | Audio


class Options(TypedDict, total=False):
    """What `AsyncChorale` takes beside the endpoint; `Chorale` takes the same."""

    addresses: Mapping[str, str] | None
    token: Token | None
    api_key: str
    tls: bool | None
    ca_file: str | Path | None
    cert_file: str | Path | None
    key_file: str | Path | None
    allow_cleartext: bool
    patience: Patience
    metadata: Metadata
    home: str | Path | None
    channel_factory: ChannelFactory | None


class AsyncChorale:
    """The mesh: `async with AsyncChorale() as chorale: audio = await chorale.put("take.wav")`.

    Without arguments it finds the mesh through CHORALE_ENDPOINT or CHORALE_<SERVICE>_ADDRESS,
    else through the mesh.json of `chorale up`. Nothing is connected before the first call. Every
    failure is a `ChoraleError` (see `chorale_client.errors`). An instance belongs to one event
    loop; within it any number of tasks may share it.
    """

    def __init__(
        self,
        endpoint: str = "",
        *,
        addresses: Mapping[str, str] | None = None,
        token: Token | None = None,
        api_key: str = "",
        tls: bool | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        allow_cleartext: bool = False,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        metadata: Metadata = (),
        home: str | Path | None = None,
        channel_factory: ChannelFactory | None = None,
    ) -> None:
        identity = replace(
            credentials.from_environment(),
            **_given(
                token=token,
                api_key=api_key,
                tls=tls,
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                allow_cleartext=allow_cleartext,
            ),
        )
        if api_key and token is None:
            identity = replace(identity, token=None)
        self.mesh = _mesh(endpoint, addresses, home, identity, patience, metadata, channel_factory)
        self.operations = AsyncOperations(self.mesh)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hangs up. Operations go on in the mesh; calls under way are cancelled."""
        await self.mesh.close()

    @property
    def services(self) -> list[str]:
        """The services that can be found."""
        return self.mesh.services

    @property
    def ingest(self) -> "IngestServiceStub":
        """Every call of ingest, as generated from the contract."""
        stub: IngestServiceStub = self.mesh.stub("ingest")
        return stub

    @property
    def analysis(self) -> "AnalysisServiceStub":
        """Every call of analysis, as generated from the contract."""
        stub: AnalysisServiceStub = self.mesh.stub("analysis")
        return stub

    @property
    def fingerprint(self) -> "FingerprintServiceStub":
        """Every call of fingerprint, as generated from the contract."""
        stub: FingerprintServiceStub = self.mesh.stub("fingerprint")
        return stub

    @property
    def mastering(self) -> "MasteringServiceStub":
        """Every call of mastering, as generated from the contract."""
        stub: MasteringServiceStub = self.mesh.stub("mastering")
        return stub

    @property
    def generation(self) -> "GenerationServiceStub":
        """Every call of generation, as generated from the contract."""
        stub: GenerationServiceStub = self.mesh.stub("generation")
        return stub

    async def put(
        self,
        source: Uploadable,
        *,
        file_name: str = "",
        title: str = "",
        tags: Sequence[str] = (),
        privacy: Privacy | None = None,
        keep_cover: bool = False,
        size_bytes: int | None = None,
        request_id: str = "",
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
    ) -> Audio:
        """Stores a path, bytes, a binary file or an iterator of bytes; returns the audio.

        A broken connection is mended: the upload goes on from what the server has. The same bytes
        again cost nothing, and stay described as they were. `progress(done, total)` counts bytes.
        With a `request_id` (a UUID) of your own another process can continue what this one could
        not finish.
        """
        deadline = self._transfer_deadline(timeout_seconds)
        details = AudioDetails(title=title, tags=tags, privacy=privacy, keep_cover=keep_cover)
        with tracing.one_trace():
            async with opened(source, size_bytes) as bytes_in:
                order = Order(
                    bytes_in, details, file_name or bytes_in.file_name, request_id, progress
                )
                return await upload(self.ingest, order, deadline)

    async def get(
        self,
        audio: AudioName,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
    ) -> Path:
        """Writes the original bytes to `path`, checked by digest. A directory gets the file's name.

        `path` is only ever the whole file: what has come so far lies in a part file beside it,
        and a later `get` continues that.
        """
        deadline = self._transfer_deadline(timeout_seconds)
        target = Path(path)
        if await asyncio.to_thread(target.is_dir):
            target = target / file_name_of(await self.info(audio))
        await download(self.ingest, _name(audio), target, deadline, progress)
        return target

    def read_frames(
        self,
        audio: AudioName,
        span: Span = None,
        *,
        sample_rate_hz: int = 0,
        channel_count: int = 0,
        chunk_bytes: int = 0,
        timeout_seconds: float | None = None,
    ) -> AsyncGenerator[Frames]:
        """The sound as PCM, in runs of frames, in order, sample-exact whatever breaks on the way.

        `span` is `range(start, stop)` in frames at `sample_rate_hz`, or a FrameSpan; 0 leaves
        rate and channels as stored.
        """
        request = reading_pb2.ReadFramesRequest(
            audio=_name(audio),
            span=reading.frame_span(span),
            sample_rate_hz=sample_rate_hz,
            channel_count=channel_count,
            chunk_bytes=chunk_bytes,
        )
        return reading.read_frames(self.ingest, request, self._transfer_deadline(timeout_seconds))

    async def read_bytes(
        self,
        audio: AudioName,
        offset_bytes: int = 0,
        length_bytes: int = 0,
        *,
        timeout_seconds: float | None = None,
    ) -> AsyncGenerator[bytes]:
        """The original bytes, in order, each once. A length of 0 means to the end."""
        request = reading_pb2.ReadBytesRequest(
            audio=_name(audio), offset_bytes=offset_bytes, length_bytes=length_bytes
        )
        deadline = self._transfer_deadline(timeout_seconds)
        async for answer in reading.read_bytes(self.ingest, request, deadline):
            yield answer.data

    async def info(self, audio: AudioName) -> Audio:
        """What is known of the audio."""
        answer: GetAudioResponse = await self.ingest.GetAudio(GetAudioRequest(name=_name(audio)))
        return answer.audio

    async def list(
        self,
        *,
        tags: Sequence[str] = (),
        text: str = "",
        parent: AudioName = "",
        kept: bool = False,
        page_size: int = 100,
    ) -> AsyncGenerator[Audio]:
        """The caller's audio, newest first; page after page, as far as the loop goes."""
        request = ListAudioRequest(
            tags=tags, text=text, parent=_name(parent), kept=kept, page_size=page_size
        )
        while True:
            page: ListAudioResponse = await self.ingest.ListAudio(request)
            for audio in page.audio:
                yield audio
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def delete(self, audio: AudioName) -> Sequence[str]:
        """Deletes the audio with everything made from it; returns the names of all that went."""
        answer = await self.ingest.DeleteAudio(DeleteAudioRequest(name=_name(audio)))
        return list(answer.deleted)

    async def usage(self) -> GetUsageResponse:
        """The caller's tier, its limits and what is used of them."""
        answer: GetUsageResponse = await self.ingest.GetUsage(GetUsageRequest())
        return answer

    async def engines(self, service: str, capability: str = "") -> Sequence[Engine]:
        """Who does the work of a service, under which licence, and whether it can work now."""
        stub = self.mesh.stub(service)
        request: Any = services.request_class(service, "ListEngines")(capability=capability)
        answer = await stub.ListEngines(request)
        return list(answer.engines)

    @overload
    async def start(
        self, rpc: Any, request: Message, answer: None = None, **call: Any
    ) -> AsyncOperation[Message]: ...

    @overload
    async def start(
        self, rpc: Any, request: Message, answer: type[R], **call: Any
    ) -> AsyncOperation[R]: ...

    async def start(
        self, rpc: Any, request: Message, answer: type[Any] | None = None, **call: Any
    ) -> AsyncOperation[Any]:
        """Starts long work: `await chorale.start(chorale.mastering.MeasureLoudness, request)`.

        `rpc` is any call of the contract that returns an operation. An empty `request_id` is
        drawn here, once for all attempts. `answer` is the message type to expect; without it the
        type that the operation itself names is taken.
        """
        state = await rpc(request, **call)
        return AsyncOperation(self.mesh, rpc.line.service, state, answer)

    def _transfer_deadline(self, timeout_seconds: float | None) -> Deadline:
        allowed = self.mesh.patience.transfer_seconds
        return Deadline(allowed if timeout_seconds is None else timeout_seconds)


def _mesh(
    endpoint: str,
    addresses_given: Mapping[str, str] | None,
    home: str | Path | None,
    identity: credentials.Credentials,
    patience: Patience,
    metadata: Metadata,
    channel_factory: ChannelFactory | None,
) -> Mesh:
    home_dir = Path(home) if home is not None else addresses.home()
    return Mesh(
        addresses.find(endpoint, addresses_given, home_dir=home_dir),
        credentials=identity,
        patience=patience,
        metadata=metadata,
        home_dir=home_dir,
        channel_factory=channel_factory,
    )


def _given(**options: Any) -> dict[str, Any]:
    """Those options that say something: the environment speaks for the rest."""
    return {name: value for name, value in options.items() if value not in (None, "", False)} | (
        {"tls": options["tls"]} if options["tls"] is not None else {}
    )


def _name(audio: AudioName) -> str:
    return audio if isinstance(audio, str) else audio.name


def file_name_of(audio: Audio) -> str:
    """A name to save it under. Never a path: it came from whoever uploaded it."""
    own = Path(audio.file_name.replace("\\", "/")).name
    return own or f"{audio.name.removeprefix('audio/')[:16]}.{audio.container or 'bin'}"
