"""The two gRPC services under which every service of the mesh shows its operations."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from chorale.operations.v1 import operations_service_pb2 as operations_pb
from chorale.operations.v1 import operations_service_pb2_grpc as operations_grpc
from google.longrunning import operations_pb2 as longrunning_pb
from google.longrunning import operations_pb2_grpc as longrunning_grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass

from chorale_runtime import caller, deadline
from chorale_runtime.app import Service
from chorale_runtime.draining import Draining
from chorale_runtime.operations.errors import OperationNotFound
from chorale_runtime.operations.hub import Hub
from chorale_runtime.operations.paging import Cursor, Filter, page_size
from chorale_runtime.operations.records import Record, identity_of
from chorale_runtime.operations.store import Store
from chorale_runtime.refusals import FieldViolation, NotReady, RequestInvalid

WAIT_MAX_SECONDS = 60.0
WAIT_MARGIN_SECONDS = 0.3  # left of the caller's deadline, to answer in time
ELSEWHERE_SECONDS = 0.1  # another replica tells on at once
LOOK_SECONDS = 15.0  # a watcher that hears nothing looks for itself


class LongRunningServicer(longrunning_grpc.OperationsServicer):  # type: ignore[misc]
    """Answers google.longrunning.Operations for the caller's own operations."""

    def __init__(self, store: Store, hub: Hub, draining: Draining) -> None:
        self._store, self._hub, self._draining = store, hub, draining

    async def GetOperation(self, request: Any, context: Any) -> Any:
        """How the operation stands."""
        return (await _get(self._store, request.name)).operation()

    async def ListOperations(self, request: Any, context: Any) -> Any:
        """The caller's operations, the newest first."""
        if request.name not in ("", "operations"):
            message = "operations have no collection but `operations`"
            raise RequestInvalid([FieldViolation("name", "operations.name", message)])
        wanted, size = Filter.parse(request.filter), page_size(request.page_size)
        owner = caller.current().principal
        parameters = owner, request.filter
        after = Cursor.parse(request.page_token, *parameters)
        # One more than wanted says whether there is a next page.
        found = await self._store.list(owner, wanted, after, size + 1)
        response = longrunning_pb.ListOperationsResponse(
            operations=[record.operation() for record in found[:size]]
        )
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = Cursor(last.create_time, last.id).token(*parameters)
        return response

    async def CancelOperation(self, request: Any, context: Any) -> Any:
        """Ask the operation to stop; one that has ended stays as it is."""
        identity = _identity(request.name)
        await self._store.cancel(identity, caller.current().principal)
        return Empty()

    async def DeleteOperation(self, request: Any, context: Any) -> Any:
        """Forget the operation; this does not stop it."""
        identity = _identity(request.name)
        await self._store.delete(identity, caller.current().principal)
        return Empty()

    async def WaitOperation(self, request: Any, context: Any) -> Any:
        """How the operation stands when it is done, or when the time is over."""
        seconds = WAIT_MAX_SECONDS
        if request.HasField("timeout"):
            # Any 64 bits may stand in a Duration: no timedelta holds them all.
            seconds = min(seconds, max(0.0, request.timeout.seconds + request.timeout.nanos / 1e9))
        left = deadline.seconds_left()
        if left is not None:
            seconds = min(seconds, left - WAIT_MARGIN_SECONDS)
        return (await self._wait(request.name, seconds)).operation()

    async def _wait(self, name: str, seconds: float) -> Record:
        ends = asyncio.get_running_loop().time() + seconds
        with self._hub.watching(_identity(name)) as changed:
            while True:
                changed.clear()
                record = await _get(self._store, name)
                left = ends - asyncio.get_running_loop().time()
                if record.is_done or left <= 0:
                    return record
                if self._draining.closed.is_set():
                    raise NotReady("draining", ELSEWHERE_SECONDS)
                await _heard(changed, min(left, LOOK_SECONDS))


class OperationsServicer(operations_grpc.OperationsServiceServicer):
    """Answers chorale.operations.v1.OperationsService."""

    def __init__(self, store: Store, hub: Hub, draining: Draining) -> None:
        self._store, self._hub, self._draining = store, hub, draining

    async def WatchOperation(
        self, request: operations_pb.WatchOperationRequest, context: Any
    ) -> AsyncIterator[operations_pb.WatchOperationResponse]:
        """The events after `after_sequence` as they happen, and the operation at its end."""
        identity, owner = _identity(request.name), caller.current().principal
        after = request.after_sequence
        with self._hub.watching(identity) as changed:
            while True:
                changed.clear()
                record, events = await self._store.tail(identity, owner, after)
                for event in events:
                    after = event.sequence
                    yield operations_pb.WatchOperationResponse(event=event.message_of())
                if events:
                    continue  # there may be more than one read gives
                if record.is_done:
                    yield operations_pb.WatchOperationResponse(operation=record.operation())
                    return
                if self._draining.closed.is_set():
                    raise NotReady("draining", ELSEWHERE_SECONDS)
                await _heard(changed, LOOK_SECONDS)


def services(store: Store, hub: Hub, draining: Draining) -> list[Service]:
    """Both services, ready to be put into an app."""
    longrunning = longrunning_pb.DESCRIPTOR.services_by_name["Operations"]
    watching = operations_pb.DESCRIPTOR.services_by_name["OperationsService"]
    return [
        Service(longrunning, LongRunningServicer(store, hub, draining), _add_longrunning),
        Service(
            watching,
            OperationsServicer(store, hub, draining),
            operations_grpc.add_OperationsServiceServicer_to_server,
        ),
    ]


def _add_longrunning(servicer: LongRunningServicer, server: Any) -> None:
    """Join contract and servicer, as today's generated code does.

    The installed code is of an older generator and offers no handlers by name.
    """
    service = longrunning_pb.DESCRIPTOR.services_by_name["Operations"]
    handlers = {
        rpc.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, rpc.name),
            request_deserializer=GetMessageClass(rpc.input_type).FromString,
            response_serializer=GetMessageClass(rpc.output_type).SerializeToString,
        )
        for rpc in service.methods
    }
    generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))
    server.add_registered_method_handlers(service.full_name, handlers)


async def _get(store: Store, name: str) -> Record:
    return await store.get(_identity(name), caller.current().principal)


def _identity(name: str) -> Any:
    identity = identity_of(name)
    if identity is None:
        raise OperationNotFound(name)
    return identity


async def _heard(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
