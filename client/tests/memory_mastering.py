"""Mastering without music: accepts work, tells its progress, ends as planned, obeys the laws of

operations: idempotent by request_id, rejoinable by sequence, cancelled for good.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import grpc
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2_grpc
from chorale.operations.v1 import operations_service_pb2, operations_service_pb2_grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2
from google.rpc import code_pb2, status_pb2
from memory_ingest import abort, status

METHOD = "chorale.mastering.v1.MasteringService/MeasureLoudness"


@dataclass
class Work:
    """One operation."""

    audio: str
    request_id: str
    name: str = field(default_factory=lambda: f"operations/{uuid.uuid4()}")
    events: list[operations_service_pb2.OperationEvent] = field(default_factory=list)
    done: bool = False
    error: status_pb2.Status | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None

    def message(self) -> operations_pb2.Operation:
        """As the services tell it."""
        metadata = operations_service_pb2.OperationMetadata(
            method=METHOD, audio=[self.audio], request_id=self.request_id
        )
        if self.events:
            metadata.event.CopyFrom(self.events[-1])
        made = operations_pb2.Operation(name=self.name, done=self.done)
        made.metadata.Pack(metadata)
        if self.error is not None:
            made.error.CopyFrom(self.error)
        elif self.done:
            loudness = loudness_pb2.Loudness(integrated_lufs=-14.0)
            made.response.Pack(
                loudness_pb2.MeasureLoudnessResponse(audio=self.audio, loudness=loudness)
            )
        return made


class MemoryMastering(
    mastering_service_pb2_grpc.MasteringServiceServicer,
    operations_service_pb2_grpc.OperationsServiceServicer,
    operations_pb2_grpc.OperationsServicer,  # type: ignore[misc]
):
    """Answers three services from memory."""

    def __init__(self, steps: int = 5, step_seconds: float = 0.01) -> None:
        self.steps = steps
        self.step_seconds = step_seconds
        self.failure: status_pb2.Status | None = None  # how work ends, if not well
        self.refusals: list[status_pb2.Status] = []  # what the next starts are answered with
        self.works: dict[str, Work] = {}
        self.request_ids: list[str] = []
        self.watches = 0
        self.can_watch = True

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves all three."""
        mastering_service_pb2_grpc.add_MasteringServiceServicer_to_server(self, server)
        operations_service_pb2_grpc.add_OperationsServiceServicer_to_server(self, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(self, server)

    async def MeasureLoudness(self, request: Any, context: Any) -> operations_pb2.Operation:
        self.request_ids.append(request.request_id)
        if self.refusals:
            await abort(context, self.refusals.pop(0))
        for work in self.works.values():
            if work.request_id == request.request_id:
                return work.message()
        work = Work(request.audio, request.request_id)
        self.works[work.name] = work
        work.task = asyncio.create_task(self._run(work))
        return work.message()

    async def _run(self, work: Work) -> None:
        for number in range(self.steps):
            await self._tell(work, "measuring", number / self.steps)
            await asyncio.sleep(self.step_seconds)
        work.error, work.done = self.failure, True
        async with work.changed:
            work.changed.notify_all()

    async def _tell(self, work: Work, stage: str, fraction: float) -> None:
        work.events.append(
            operations_service_pb2.OperationEvent(
                sequence=len(work.events) + 1, stage=stage, fraction=fraction, attempt=1
            )
        )
        async with work.changed:
            work.changed.notify_all()

    async def WatchOperation(
        self, request: Any, context: Any
    ) -> AsyncGenerator[operations_service_pb2.WatchOperationResponse]:
        if not self.can_watch:
            await abort(context, status(code_pb2.UNIMPLEMENTED, "NOT_SERVED"))
        self.watches += 1
        work = await self._find(request.name, context)
        told = request.after_sequence
        while True:
            while told < len(work.events):
                event = work.events[told]
                told = event.sequence
                yield operations_service_pb2.WatchOperationResponse(event=event)
            if work.done:
                yield operations_service_pb2.WatchOperationResponse(operation=work.message())
                return
            async with work.changed:
                if len(work.events) == told and not work.done:
                    await work.changed.wait()

    async def GetOperation(self, request: Any, context: Any) -> operations_pb2.Operation:
        return (await self._find(request.name, context)).message()

    async def ListOperations(
        self, request: Any, context: Any
    ) -> operations_pb2.ListOperationsResponse:
        works = list(self.works.values())[::-1]
        begin = int(request.page_token or 0)
        end = begin + min(request.page_size or 50, 2)  # small pages: clients must turn them
        return operations_pb2.ListOperationsResponse(
            operations=[work.message() for work in works[begin:end]],
            next_page_token=str(end) if end < len(works) else "",
        )

    async def CancelOperation(self, request: Any, context: Any) -> empty_pb2.Empty:
        work = await self._find(request.name, context)
        if work.task is not None and not work.done:
            work.task.cancel()
            work.error = status(code_pb2.CANCELLED, "OPERATION_CANCELLED", operation=work.name)
            work.done = True
            async with work.changed:
                work.changed.notify_all()
        return empty_pb2.Empty()

    async def DeleteOperation(self, request: Any, context: Any) -> empty_pb2.Empty:
        del self.works[(await self._find(request.name, context)).name]
        return empty_pb2.Empty()

    async def _find(self, name: str, context: Any) -> Work:
        if name not in self.works:
            await abort(context, status(code_pb2.NOT_FOUND, "OPERATION_NOT_FOUND", operation=name))
        return self.works[name]
