"""What the generated stubs are built on: calls that carry identity, trace and a deadline,

are tried again where that is safe, and fail with `ChoraleError`. `Wire` looks to a stub like a
`grpc.aio.Channel`; each attribute of the stub is then one of the four classes below.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from chorale_client import tracing
from chorale_client.errors import ChoraleError, MeshNotFoundError
from chorale_client.failures import is_of_transport
from chorale_client.line import Line, Metadata
from chorale_client.patience import Backoff, Deadline

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
# What grpc.aio raises when a stream turns out to have ended; the call's status says how.
_BROKEN = (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError)


class Wire:
    """A channel for generated stubs, over one line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def unary_unary(self, method: str, **codec: Any) -> "UnaryUnary[Any, Any]":
        """For calls with one request and one answer."""
        return UnaryUnary(self._line, method, self._line.channel.unary_unary(method, **codec))

    def unary_stream(self, method: str, **codec: Any) -> "UnaryStream[Any, Any]":
        """For calls with one request and a stream of answers."""
        return UnaryStream(self._line, method, self._line.channel.unary_stream(method, **codec))

    def stream_unary(self, method: str, **codec: Any) -> "StreamUnary[Any, Any]":
        """For calls with a stream of requests and one answer."""
        return StreamUnary(self._line, method, self._line.channel.stream_unary(method, **codec))

    def stream_stream(self, method: str, **codec: Any) -> "StreamStream[Any, Any]":
        """For calls with streams both ways."""
        return StreamStream(self._line, method, self._line.channel.stream_stream(method, **codec))


@dataclass(frozen=True)
class Rpc:
    """One method of one service, on its line."""

    line: Line
    method: str  # "/chorale.ingest.v1.IngestService/GetAudio"
    callable: Any  # the grpc.aio multi-callable: its own types say nothing

    async def _call_options(
        self, timeout: float | None, default: float, metadata: Metadata
    ) -> tuple[str, dict[str, Any]]:
        """Waits for the line; returns the traceparent and the options of one call on it."""
        deadline = Deadline(default if timeout is None else timeout)
        await self.line.ready(deadline.left_seconds)
        trace = tracing.traceparent()
        return trace, {
            "timeout": deadline.left_seconds,
            "metadata": (*await self.line.headers(trace), *metadata),
            "wait_for_ready": True,
        }


class UnaryUnary(Rpc, Generic[Q, A]):
    """One request, one answer.

    Every such call of the contract is idempotent, by nature or by its `request_id`; an empty
    `request_id` is drawn here once for all attempts. So it is tried again, with jittered
    back-off, while the service is unavailable and `Patience.retry_seconds` allow.
    """

    async def __call__(
        self, request: Q, timeout: float | None = None, metadata: Metadata = (), **_: Any
    ) -> A:
        """The answer. `timeout` is in seconds, over all attempts."""
        allowed = self.line.patience.call_seconds if timeout is None else timeout
        deadline, backoff = Deadline(allowed), Backoff()
        retries = Deadline(min(allowed, self.line.patience.retry_seconds))
        request = with_request_id(request)
        while True:
            try:
                return await self._once(request, deadline.left_seconds, metadata)
            except ChoraleError as error:
                if isinstance(error, MeshNotFoundError) or not is_of_transport(error):
                    raise  # the first contact was waited for already
                await backoff.wait(error, retries)

    async def _once(self, request: Q, timeout: float, metadata: Metadata) -> A:
        trace, options = await self._call_options(timeout, timeout, metadata)
        try:
            answer: A = await self.callable(request, **options)
        except grpc.aio.AioRpcError as error:
            raise self.line.failure(error, trace) from error
        return answer


class UnaryStream(Rpc, Generic[Q, A]):
    """One request, a stream of answers."""

    async def __call__(
        self, request: Q, timeout: float | None = None, metadata: Metadata = (), **_: Any
    ) -> AsyncGenerator[A]:
        """The answers as they come. Leaving the loop cancels the call."""
        default = self.line.patience.transfer_seconds
        trace, options = await self._call_options(timeout, default, metadata)
        call = self.callable(request, **options)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self.line.failure(error, trace) from error
        finally:
            call.cancel()


class StreamUnary(Rpc, Generic[Q, A]):
    """A stream of requests, one answer."""

    async def __call__(
        self,
        requests: AsyncIterable[Q],
        timeout: float | None = None,
        metadata: Metadata = (),
        **_: Any,
    ) -> A:
        """The answer, once the server has what it needs."""
        stream = await self.open(timeout, metadata)
        try:
            async for request in requests:
                if not await stream.write(request):
                    break
            return await stream.answer()
        finally:
            stream.cancel()

    async def open(
        self, timeout: float | None = None, metadata: Metadata = ()
    ) -> "WriteStream[Q, A]":
        """The call, to be written by hand."""
        default = self.line.patience.transfer_seconds
        trace, options = await self._call_options(timeout, default, metadata)
        return WriteStream(self.line, self.callable(**options), trace)


class WriteStream(Generic[Q, A]):
    """A client stream that is being written."""

    def __init__(self, line: Line, call: Any, trace: str) -> None:
        self._line, self._call, self._trace = line, call, trace

    async def write(self, request: Q) -> bool:
        """Sends one message, as fast as the server takes it. False: the server has ended it."""
        return await _send(self._call, request)  # why, `answer` tells

    async def answer(self) -> A:
        """Ends the writing and waits for the server's word."""
        try:
            if not self._call.done():
                await self._call.done_writing()
        except _BROKEN:
            pass  # the status below says how
        try:
            answer: A = await self._call
        except grpc.aio.AioRpcError as error:
            raise self._line.failure(error, self._trace) from error
        return answer

    def cancel(self) -> None:
        """Ends the call, if it has not ended."""
        self._call.cancel()


class StreamStream(Rpc, Generic[Q, A]):
    """Streams both ways."""

    async def __call__(
        self,
        requests: AsyncIterable[Q],
        timeout: float | None = None,
        metadata: Metadata = (),
        **_: Any,
    ) -> AsyncGenerator[A]:
        """The answers as they come, while the requests go out. Leaving the loop cancels both."""
        default = self.line.patience.transfer_seconds
        trace, options = await self._call_options(timeout, default, metadata)
        call = self.callable(**options)
        faults: list[BaseException] = []
        writer = asyncio.create_task(_write_all(call, requests, faults))
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self.line.failure(error, trace) from error
        except asyncio.CancelledError:
            if faults:  # the caller's own iterator failed: that is the news, not the cancelling
                raise faults[0] from None
            raise
        finally:
            call.cancel()
            writer.cancel()


async def _write_all(call: Any, requests: AsyncIterable[Q], faults: list[BaseException]) -> None:
    try:
        async for request in requests:
            if not await _send(call, request):
                return  # the reader sees the same end, with its status
        await call.done_writing()
    except _BROKEN:
        return
    except Exception as fault:
        faults.append(fault)
        call.cancel()


async def _send(call: Any, request: Message) -> bool:
    """Writes one message. False when the call has ended; its status is then still to be read.

    Not by `call.write`: when that meets a stream which the server has just ended, grpc.aio
    overwrites the server's status with `INTERNAL: Internal error from Core` (in more than half of
    the cases, measured with grpcio 1.85.1), and the reason for the end is lost. What `write` does
    is done here without the overwriting; test_client_errors.py holds this to its purpose.
    """
    try:
        await call.wait_for_connection()
        if call.done():
            return False
        await call._cython_call.send_serialized_message(request.SerializeToString())
    except _BROKEN:
        return False
    return True


def with_request_id(request: Q) -> Q:
    """The request with a fresh `request_id`, where it has one and the caller set none.

    A copy: the same message used for a second call is a second request.
    """
    fields: Any = request
    if "request_id" not in request.DESCRIPTOR.fields_by_name or fields.request_id:
        return request
    copy: Any = type(request)()
    copy.CopyFrom(request)
    copy.request_id = str(uuid.uuid4())
    filled: Q = copy
    return filled
