"""`Chorale`: the mesh, from a program without an event loop, or from a notebook.

The same methods as `AsyncChorale`, without `await`; a test holds the two together.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast, overload

from chorale.engines.v1.engine_pb2 import Engine
from chorale.ingest.v1.audio_pb2 import Audio, Privacy
from chorale.ingest.v1.usage_pb2 import GetUsageResponse
from chorale.operations.v1.operations_service_pb2 import OperationEvent, OperationMetadata
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from chorale_client.aio import AsyncChorale, AudioName, Options
from chorale_client.background import Background
from chorale_client.operations import PAGE_SIZE, AsyncOperation
from chorale_client.reading import Frames, Span
from chorale_client.sources import Uploadable
from chorale_client.stubs import BlockingStub
from chorale_client.upload import Progress

if TYPE_CHECKING:
    from chorale.analysis.v1.analysis_service_pb2_grpc import AnalysisServiceStub
    from chorale.fingerprint.v1.fingerprint_service_pb2_grpc import FingerprintServiceStub
    from chorale.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
    from chorale.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
    from chorale.mastering.v1.mastering_service_pb2_grpc import MasteringServiceStub

R = TypeVar("R", bound=Message)


class Operation(Generic[R]):
    """One piece of long work: `for event in operation: ...`, then `operation.result()`."""

    def __init__(self, background: Background, operation: AsyncOperation[R]) -> None:
        self._background = background
        self._async = operation

    @property
    def name(self) -> str:
        """`operations/{uuid}`."""
        return self._async.name

    @property
    def service(self) -> str:
        """The service that does the work."""
        return self._async.service

    @property
    def done(self) -> bool:
        """Whether it had ended when last heard of."""
        return self._async.done

    @property
    def state(self) -> operations_pb2.Operation:
        """What was last heard of it, as the contract says it."""
        return self._async.state

    @property
    def metadata(self) -> OperationMetadata:
        """How far it was when last heard of."""
        return self._async.metadata

    def __iter__(self) -> Iterator[OperationEvent]:
        return self.events()

    def result(self, timeout_seconds: float | None = None) -> R:
        """Waits for the end; returns the answer or raises what it failed with."""
        return self._background.run(self._async.result, timeout_seconds)

    def events(
        self, timeout_seconds: float | None = None, after_sequence: int | None = None
    ) -> Generator[OperationEvent]:
        """Its progress until it ends, each event once, also when the connection breaks."""
        return self._background.iterate(self._async.events, timeout_seconds, after_sequence)

    def cancel(self) -> None:
        """Asks for its end. It may still succeed if it is done by then; `result` tells."""
        self._background.run(self._async.cancel)

    def refresh(self) -> "Operation[R]":
        """Asks how it stands."""
        self._background.run(self._async.refresh)
        return self


class Operations:
    """The operations of every service of the mesh, or of one."""

    def __init__(self, background: Background, chorale: AsyncChorale) -> None:
        self._background = background
        self._async = chorale.operations

    def get(self, name: str, service: str = "") -> Operation[Message]:
        """Finds an operation by name. Without a service every one is asked."""
        return Operation(self._background, self._background.run(self._async.get, name, service))

    def list(
        self, service: str = "", query: str = "", page_size: int = PAGE_SIZE
    ) -> Generator[Operation[Message]]:
        """The caller's operations, service by service, as each orders them."""
        for found in self._background.iterate(self._async.list, service, query, page_size):
            yield Operation(self._background, found)

    def adopt(self, rpc: Any, state: operations_pb2.Operation) -> Operation[Message]:
        """What a raw starting call returned, as an operation to follow."""
        return Operation(self._background, self._async.adopt(rpc.awaitable, state))

    def delete(self, name: str, service: str = "") -> None:
        """Forgets an ended operation and its answer."""
        self._background.run(self._async.delete, name, service)


class Chorale:
    """The mesh: `with Chorale() as chorale: audio = chorale.put("take.wav")`.

    Takes what `AsyncChorale` takes. Any number of threads may share it.
    """

    def __init__(self, endpoint: str = "", **options: Unpack[Options]) -> None:
        self._background = Background()
        try:
            self._async: AsyncChorale = self._background.run(
                _made, partial(AsyncChorale, endpoint, **options)
            )
        except BaseException:
            self._background.close()
            raise
        self.operations = Operations(self._background, self._async)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up. Operations go on in the mesh; calls under way are cancelled."""
        if not self._background.closed:
            self._background.run(self._async.close)
            self._background.close()

    @property
    def services(self) -> Sequence[str]:
        """The services that can be found."""
        return self._async.services

    @property
    def ingest(self) -> "IngestServiceStub":
        """Every call of ingest, as generated from the contract, without `await`."""
        return cast("IngestServiceStub", self._stub("ingest"))

    @property
    def analysis(self) -> "AnalysisServiceStub":
        """Every call of analysis, as generated from the contract, without `await`."""
        return cast("AnalysisServiceStub", self._stub("analysis"))

    @property
    def fingerprint(self) -> "FingerprintServiceStub":
        """Every call of fingerprint, as generated from the contract, without `await`."""
        return cast("FingerprintServiceStub", self._stub("fingerprint"))

    @property
    def mastering(self) -> "MasteringServiceStub":
        """Every call of mastering, as generated from the contract, without `await`."""
        return cast("MasteringServiceStub", self._stub("mastering"))

    @property
    def generation(self) -> "GenerationServiceStub":
        """Every call of generation, as generated from the contract, without `await`."""
        return cast("GenerationServiceStub", self._stub("generation"))

    def put(
        self,
        source: Uploadable,
        *,
        file_name: str = "",
        title: str = "",
        tags: Iterable[str] = (),
        privacy: Privacy | None = None,
        keep_cover: bool = False,
        size_bytes: int | None = None,
        request_id: str = "",
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
    ) -> Audio:
        """Stores a path, bytes, a binary file or an iterator of bytes; returns the audio.

        `progress` is called in the background thread.
        """
        return self._background.run(
            self._async.put,
            source,
            file_name=file_name,
            title=title,
            tags=tuple(tags),
            privacy=privacy,
            keep_cover=keep_cover,
            size_bytes=size_bytes,
            request_id=request_id,
            progress=progress,
            timeout_seconds=timeout_seconds,
        )

    def get(
        self,
        audio: AudioName,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        timeout_seconds: float | None = None,
    ) -> Path:
        """Writes the original bytes to `path`, or under the file's own name into a directory."""
        return self._background.run(
            self._async.get, audio, path, progress=progress, timeout_seconds=timeout_seconds
        )

    def read_frames(
        self,
        audio: AudioName,
        span: Span = None,
        *,
        sample_rate_hz: int = 0,
        channel_count: int = 0,
        chunk_bytes: int = 0,
        timeout_seconds: float | None = None,
    ) -> Generator[Frames]:
        """The sound as PCM, in runs of frames, in order, sample-exact whatever breaks."""
        return self._background.iterate(
            self._async.read_frames,
            audio,
            span,
            sample_rate_hz=sample_rate_hz,
            channel_count=channel_count,
            chunk_bytes=chunk_bytes,
            timeout_seconds=timeout_seconds,
        )

    def read_bytes(
        self,
        audio: AudioName,
        offset_bytes: int = 0,
        length_bytes: int = 0,
        *,
        timeout_seconds: float | None = None,
    ) -> Generator[bytes]:
        """The original bytes, in order, each once. A length of 0 means to the end."""
        return self._background.iterate(
            self._async.read_bytes,
            audio,
            offset_bytes,
            length_bytes,
            timeout_seconds=timeout_seconds,
        )

    def info(self, audio: AudioName) -> Audio:
        """What is known of the audio."""
        return self._background.run(self._async.info, audio)

    def list(
        self,
        *,
        tags: Sequence[str] = (),
        text: str = "",
        parent: AudioName = "",
        kept: bool = False,
        page_size: int = 100,
    ) -> Generator[Audio]:
        """The caller's audio, newest first; page after page, as far as the loop goes."""
        return self._background.iterate(
            self._async.list, tags=tags, text=text, parent=parent, kept=kept, page_size=page_size
        )

    def delete(self, audio: AudioName) -> Sequence[str]:
        """Deletes the audio with everything made from it; returns the names of all that went."""
        return self._background.run(self._async.delete, audio)

    def usage(self) -> GetUsageResponse:
        """The caller's tier, its limits and what is used of them."""
        return self._background.run(self._async.usage)

    def engines(self, service: str, capability: str = "") -> Sequence[Engine]:
        """Who does the work of a service, under which licence, and whether it can work now."""
        return self._background.run(self._async.engines, service, capability)

    @overload
    def start(
        self, rpc: Any, request: Message, answer: None = None, **call: Any
    ) -> Operation[Message]: ...

    @overload
    def start(self, rpc: Any, request: Message, answer: type[R], **call: Any) -> Operation[R]: ...

    def start(
        self, rpc: Any, request: Message, answer: type[Any] | None = None, **call: Any
    ) -> Operation[Any]:
        """Starts long work: `chorale.start(chorale.mastering.MeasureLoudness, request)`."""
        start: Any = self._async.start
        return Operation(
            self._background,
            self._background.run(start, rpc.awaitable, request, answer, **call),
        )

    def _stub(self, service: str) -> BlockingStub:
        stub = self._background.run(_made, partial(self._async.mesh.stub, service))
        return BlockingStub(self._background, stub)


async def _made(make: Any) -> Any:
    """Makes in the background what belongs to its loop."""
    return make()
