"""Long work: an operation that can be awaited, followed, left, found again and cancelled."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chorale.operations.v1.operations_service_pb2 import (
    OperationEvent,
    OperationMetadata,
    WatchOperationRequest,
)
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from chorale_client import services
from chorale_client.errors import ChoraleError, DataLossError, NotFoundError, NotServedError
from chorale_client.failures import from_status, is_passing
from chorale_client.patience import Backoff, Deadline

if TYPE_CHECKING:
    from chorale_client.mesh import Mesh

R = TypeVar("R", bound=Message)
PAGE_SIZE = 100


class AsyncOperation(Generic[R]):
    """One piece of long work.

        operation = await chorale.start(chorale.mastering.MeasureLoudness, request)
        async for event in operation.events():
            print(event.stage, event.fraction)
        answer = await operation

    Leaving it does not stop it: it goes on in the mesh, and `chorale.operations.get(name)` finds
    it again. What it fails with is raised as the same `ChoraleError` a call would raise.
    """

    def __init__(
        self,
        mesh: "Mesh",
        service: str,
        state: operations_pb2.Operation,
        answer: type[R] | None = None,
    ) -> None:
        self._mesh = mesh
        self._answer = answer
        self._seen = 0
        self.service = service
        self.state = state

    @property
    def name(self) -> str:
        """`operations/{uuid}`."""
        return str(self.state.name)

    @property
    def done(self) -> bool:
        """Whether it had ended when last heard of."""
        return bool(self.state.done)

    @property
    def metadata(self) -> OperationMetadata:
        """How far it was when last heard of."""
        metadata = OperationMetadata()
        self.state.metadata.Unpack(metadata)
        return metadata

    def __await__(self) -> Generator[Any, None, R]:
        return self.result().__await__()

    async def result(self, timeout_seconds: float | None = None) -> R:
        """Waits for the end; returns the answer or raises what it failed with."""
        async with aclosing(self.events(timeout_seconds)) as events:
            async for _ in events:
                pass
        return self._outcome()

    async def events(
        self, timeout_seconds: float | None = None, after_sequence: int | None = None
    ) -> AsyncGenerator[OperationEvent]:
        """Its progress until it ends, each event once, also when the connection breaks.

        A second loop goes on after the last event seen; `after_sequence=0` tells all again.
        """
        allowed = self._mesh.patience.operation_seconds
        deadline = Deadline(allowed if timeout_seconds is None else timeout_seconds)
        backoff = Backoff()
        if after_sequence is not None:
            self._seen = after_sequence
        elif self.done:
            return
        stub = self._mesh.operations_service(self.service)
        while True:
            request = WatchOperationRequest(name=self.name, after_sequence=self._seen)
            try:
                watch = stub.WatchOperation(request, timeout=deadline.left_seconds)
                async with aclosing(watch) as updates:
                    async for update in updates:
                        backoff.progressed()
                        if update.HasField("operation"):
                            self.state = update.operation
                            return
                        if update.event.sequence > self._seen:
                            self._seen = update.event.sequence
                            yield update.event
                await asyncio.sleep(0.1)  # ended in good order without the end: it is draining
            except NotServedError:
                await self._wait_unwatched(deadline)
                return
            except ChoraleError as error:
                if not is_passing(error):
                    raise
                await backoff.wait(error, deadline)

    async def cancel(self) -> None:
        """Asks for its end. It may still succeed if it is done by then; `await` tells."""
        stub = self._mesh.longrunning(self.service)
        await stub.CancelOperation(operations_pb2.CancelOperationRequest(name=self.name))

    async def refresh(self) -> "AsyncOperation[R]":
        """Asks how it stands."""
        stub = self._mesh.longrunning(self.service)
        self.state = await stub.GetOperation(operations_pb2.GetOperationRequest(name=self.name))
        return self

    async def _wait_unwatched(self, deadline: Deadline) -> None:
        """For a service that does not tell events: asks now and then."""
        pause = 0.1
        while not (await self.refresh()).done:
            await asyncio.sleep(min(pause, deadline.left_seconds))
            pause = min(2.0, pause * 1.5)

    def _outcome(self) -> R:
        if self.state.HasField("error"):
            raise from_status(self.state.error)
        return self._unpacked(self.state.response)

    def _unpacked(self, response: any_pb2.Any) -> R:
        kind: Any = self._answer or _message_class(response.TypeName(), self.service)
        answer: R = kind()
        if not response.Unpack(answer):
            raise DataLossError(
                f"{self.name} ended with {response.TypeName() or 'nothing'}; "
                f"{kind.DESCRIPTOR.full_name} was due.",
                reason="ANSWER_UNEXPECTED",
            )
        return answer


class AsyncOperations:
    """The operations of every service of the mesh, or of one."""

    def __init__(self, mesh: "Mesh") -> None:
        self._mesh = mesh

    async def get(self, name: str, service: str = "") -> AsyncOperation[Message]:
        """Finds an operation by name. Without a service every one is asked."""
        asked = [service] if service else self._mesh.services
        request = operations_pb2.GetOperationRequest(name=name)
        answers = await asyncio.gather(
            *(self._mesh.longrunning(one).GetOperation(request) for one in asked),
            return_exceptions=True,
        )
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, operations_pb2.Operation):
                return _found(self._mesh, one, answer)
        raise _most_telling(name, answers)

    def adopt(self, rpc: Any, state: operations_pb2.Operation) -> AsyncOperation[Message]:
        """What a raw starting call returned, as an operation to follow."""
        return AsyncOperation(self._mesh, rpc.line.service, state)

    async def list(
        self, service: str = "", query: str = "", page_size: int = PAGE_SIZE
    ) -> AsyncGenerator[AsyncOperation[Message]]:
        """The caller's operations, service by service, as each orders them."""
        seen: set[str] = set()  # one address may serve many services
        for one in [service] if service else self._mesh.services:
            try:
                async for operation in self._of_service(one, query, page_size):
                    if operation.name not in seen:
                        seen.add(operation.name)
                        yield operation
            except NotServedError:  # a service without long work has no operations
                if service:
                    raise

    async def delete(self, name: str, service: str = "") -> None:
        """Forgets an ended operation and its answer."""
        found = await self.get(name, service)
        await self._mesh.longrunning(found.service).DeleteOperation(
            operations_pb2.DeleteOperationRequest(name=name)
        )

    async def _of_service(
        self, service: str, query: str, page_size: int
    ) -> AsyncGenerator[AsyncOperation[Message]]:
        request = operations_pb2.ListOperationsRequest(
            name="operations", filter=query, page_size=page_size
        )
        while True:
            page = await self._mesh.longrunning(service).ListOperations(request)
            for state in page.operations:
                yield _found(self._mesh, service, state)
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def _found(mesh: "Mesh", asked: str, state: operations_pb2.Operation) -> AsyncOperation[Message]:
    """An operation with the service that its metadata names: where many share an address, the

    one that was asked may not be the one that has it.
    """
    operation: AsyncOperation[Message] = AsyncOperation(mesh, asked, state)
    named = services.of_method(operation.metadata.method)
    if named in mesh.found:
        operation.service = named
    return operation


def _most_telling(name: str, answers: "list[Any]") -> BaseException:
    """NOT_FOUND only when everybody says so: a service that is away may well have it."""
    faults = [answer for answer in answers if isinstance(answer, BaseException)]
    for fault in faults:
        if not isinstance(fault, NotFoundError | NotServedError):
            return fault
    return next(
        (fault for fault in faults if isinstance(fault, NotFoundError)),
        NotFoundError(f"No service of the mesh knows {name}.", reason="OPERATION_NOT_FOUND"),
    )


def _message_class(type_name: str, service: str) -> type[Message]:
    services.stub_class(service)  # its import registers what its operations may answer with
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name)
    except KeyError:
        raise DataLossError(
            f"The answer is a {type_name!r}, which this client does not know.",
            reason="ANSWER_UNEXPECTED",
        ) from None
    return message_factory.GetMessageClass(descriptor)
