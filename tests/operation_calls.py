"""Waiting for what a service was asked to do."""

from typing import Any

import grpc
from chorale.operations.v1 import operations_service_pb2, operations_service_pb2_grpc

WAIT_SECONDS = 60


async def ended(
    channel: grpc.aio.Channel, operation: Any, wait_seconds: float = WAIT_SECONDS
) -> tuple[Any, list[str]]:
    """Watches an operation to its end; returns it, done, and the stages it went through."""
    stub = operations_service_pb2_grpc.OperationsServiceStub(channel)
    request = operations_service_pb2.WatchOperationRequest(name=operation.name)
    stages: list[str] = []
    async for update in stub.WatchOperation(request, timeout=wait_seconds):
        if update.HasField("operation"):
            return update.operation, stages
        if update.event.stage not in stages:
            stages.append(update.event.stage)
    raise AssertionError("the stream ended without the operation")


async def finished(channel: grpc.aio.Channel, operation: Any, answer: Any) -> Any:
    """Waits for an operation and reads its answer."""
    done, _ = await ended(channel, operation)
    assert done.response.Unpack(answer), done.error
    return answer
