"""MasteringService over the wire, beside a real ingest."""

import uuid
from typing import Any

import grpc
import pytest
import signals
from chorale.mastering.v1 import loudness_pb2
from chorale.operations.v1 import operations_service_pb2, operations_service_pb2_grpc
from standing_ingest import Ingest

WAIT_SECONDS = 30


async def ended(channel: grpc.aio.Channel, operation: Any) -> tuple[Any, list[str]]:
    """Watches an operation to its end; returns it, done, and the stages it went through."""
    stub = operations_service_pb2_grpc.OperationsServiceStub(channel)
    request = operations_service_pb2.WatchOperationRequest(name=operation.name)
    stages: list[str] = []
    async for update in stub.WatchOperation(request, timeout=WAIT_SECONDS):
        if update.HasField("operation"):
            return update.operation, stages
        if update.event.stage not in stages:
            stages.append(update.event.stage)
    raise AssertionError("the stream ended without the operation")


def measure(audio: str, **fields: Any) -> loudness_pb2.MeasureLoudnessRequest:
    """A request to measure, under a new UUID."""
    return loudness_pb2.MeasureLoudnessRequest(audio=audio, request_id=str(uuid.uuid4()), **fields)


async def test_a_tone_is_measured(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """A stored tone of -23 dBFS comes back as -23.0 LUFS, with what made the answer."""
    audio = ingest.put(signals.sine(-23, 5, rate_hz=48000), 48000)
    done, stages = await ended(channel, await mastering.MeasureLoudness(measure(audio.name)))
    answer = loudness_pb2.MeasureLoudnessResponse()
    assert done.response.Unpack(answer)
    assert answer.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
    assert stages[-2:] == ["reading", "measuring"]
