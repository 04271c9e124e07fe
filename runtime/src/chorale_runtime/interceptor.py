"""The interceptor: servicer methods of all four cardinalities, wrapped once each.

grpc hands requests over as bytes and takes bytes back; in between, every method looks the
same: `async with` a `Call`, read and check what comes, answer. Wrapping when the service is
built, and not anew for every call as `grpc.aio.ServerInterceptor` does, keeps it cheap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from chorale_runtime.app import App, Service
from chorale_runtime.calls import EOF, Call, Context, Method, Policy
from chorale_runtime.refusals import NotServed, RequestTooLarge
from chorale_runtime.validation import RequestType

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# Following work that was counted when it was asked for.
_UNCOUNTED = frozenset({"google.longrunning.Operations", "chorale.operations.v1.OperationsService"})


def handlers(app: App, policy: Policy, default_deadline_seconds: float) -> dict[str, Handler]:
    """Wraps every method of an app: path -> handler."""
    wrapped: dict[str, Handler] = {}
    for service in app.services:
        generated = _generated(service)
        for rpc in service.descriptor.methods:
            name = f"{service.descriptor.full_name}/{rpc.name}"
            streams = rpc.client_streaming or rpc.server_streaming
            default = policy.max_deadline_seconds if streams else default_deadline_seconds
            method = Method(
                f"/{name}",
                policy.metrics.of(f"/{name}"),
                app.deadlines.get(name, default),
                service.open,
                service.counted and service.descriptor.full_name not in _UNCOUNTED,
                rpc.client_streaming,
            )
            behaviour = _behaviour(generated.get(rpc.name))
            wrapped[method.path] = (
                refusing(method, policy, NotServed(method.path))
                if behaviour is None
                else _wrapped(method, policy, behaviour, RequestType(rpc.input_type), rpc)
            )
    return wrapped


def refusing(method: Method, policy: Policy, reason: Exception) -> Handler:
    """Makes a handler that answers every call, of any cardinality, with one status."""

    async def refuse(_: object, context: Context) -> None:
        async with Call(policy, method, context):
            # Nothing of `reason` changes when raised but its traceback; drop the last one's.
            raise reason.with_traceback(None)

    return grpc.stream_stream_rpc_method_handler(refuse)


def _wrapped(
    method: Method,
    policy: Policy,
    behaviour: Callable[..., Any],
    requests: RequestType,
    rpc: Any,
) -> Handler:
    around = _Around(method, policy, requests)
    if rpc.client_streaming:
        if rpc.server_streaming:
            return grpc.stream_stream_rpc_method_handler(around.stream_stream(behaviour))
        return grpc.stream_unary_rpc_method_handler(around.stream_unary(behaviour))
    if rpc.server_streaming:
        return grpc.unary_stream_rpc_method_handler(around.unary_stream(behaviour))
    return grpc.unary_unary_rpc_method_handler(around.unary_unary(behaviour))


class _Around:
    """The four shapes of a call around one method."""

    def __init__(self, method: Method, policy: Policy, requests: RequestType) -> None:
        self._method, self._policy, self._read = method, policy, requests.read
        self._bytes_max = policy.max_message_bytes

    def unary_unary(
        self, behaviour: Callable[[Message, Context], Awaitable[Message]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def answer(raw: bytes, context: Context) -> bytes:
            async with Call(self._policy, self._method, context) as call:
                request = self._received(call, raw)
                return _sent(call, await behaviour(request, context))

        return answer

    def unary_stream(
        self, behaviour: Callable[[Message, Context], AsyncIterator[Message]]
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def answer(raw: bytes, context: Context) -> None:
            async with Call(self._policy, self._method, context) as call:
                request = self._received(call, raw)
                await _send_all(call, behaviour(request, context), context)

        return answer

    def stream_unary(
        self, behaviour: Callable[[AsyncIterator[Message], Context], Awaitable[Message]]
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        async def answer(_: object, context: Context) -> bytes:
            async with Call(self._policy, self._method, context) as call:
                return _sent(call, await behaviour(self._requests(call, context), context))

        return answer

    def stream_stream(
        self, behaviour: Callable[[AsyncIterator[Message], Context], AsyncIterator[Message]]
    ) -> Callable[[object, Context], Awaitable[None]]:
        async def answer(_: object, context: Context) -> None:
            async with Call(self._policy, self._method, context) as call:
                answers = behaviour(self._requests(call, context), context)
                await _send_all(call, answers, context)

        return answer

    def _received(self, call: Call, raw: bytes) -> Message:
        call.messages_in += 1
        size = len(raw)
        call.bytes_in += size
        if size > self._bytes_max:
            raise RequestTooLarge(size, self._bytes_max)
        return self._read(raw)

    async def _requests(self, call: Call, context: Context) -> AsyncIterator[Message]:
        while True:
            raw = await context.read()
            if raw is EOF:
                break
            taken = [self._received(call, raw)]
            # Hundreds of streams wait, here for their next chunk and below until one is stored.
            # What is held meanwhile is theirs to say: nothing is held here.
            del raw
            yield taken.pop()
        call.has_read_all = True
        # A client that vanishes in mid-stream looks like one that has finished, until its
        # cancellation, which is already under way, is delivered.
        await asyncio.sleep(0)


async def _send_all(call: Call, answers: AsyncIterator[Message], context: Context) -> None:
    async with aclosing(answers):  # type: ignore[type-var]
        async for answer in answers:
            await context.write(_sent(call, answer))


def _sent(call: Call, answer: Message) -> bytes:
    raw = answer.SerializeToString()
    call.messages_out += 1
    call.bytes_out += len(raw)
    return raw


class _Recorder:
    """Stands in for a server towards the generated `add_X_to_server`."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, _: object) -> None:
        """The generated code offers the same handlers twice; the other way tells their names."""

    def add_registered_method_handlers(
        self, _service: str, handlers: Mapping[str, Handler]
    ) -> None:
        self.handlers.update(handlers)


def _generated(service: Service) -> Mapping[str, Handler]:
    recorder = _Recorder()
    service.add(service.servicer, recorder)
    return recorder.handlers


def _behaviour(handler: Handler | None) -> Callable[..., Any] | None:
    """The servicer's method; None where it is the generated one, which only says it is missing."""
    if handler is None:
        return None
    method: Any = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return None if getattr(method, "__module__", "").endswith("_pb2_grpc") else method
