"""MasteringService over the wire, beside a real ingest."""

import uuid
from typing import Any

import grpc
import pytest
import signals
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2
from google.longrunning import operations_pb2, operations_pb2_grpc
from standing_ingest import Ingest

WAIT_SECONDS = 30


async def ended(channel: grpc.aio.Channel, operation: Any) -> Any:
    """Waits for an operation and returns it, done."""
    stub = operations_pb2_grpc.OperationsStub(channel)
    request = operations_pb2.WaitOperationRequest(name=operation.name)
    request.timeout.seconds = WAIT_SECONDS
    done = await stub.WaitOperation(request, timeout=WAIT_SECONDS + 5)
    assert done.done
    return done


def measure(audio: str, **fields: Any) -> loudness_pb2.MeasureLoudnessRequest:
    """A request to measure, under a new UUID."""
    return loudness_pb2.MeasureLoudnessRequest(audio=audio, request_id=str(uuid.uuid4()), **fields)


async def test_a_tone_is_measured(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """A stored tone of -23 dBFS comes back as -23.0 LUFS, with what made the answer."""
    audio = ingest.put(signals.sine(-23, 5, rate_hz=48000), 48000)
    done = await ended(channel, await mastering.MeasureLoudness(measure(audio.name)))
    answer = loudness_pb2.MeasureLoudnessResponse()
    assert done.response.Unpack(answer)
    assert answer.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
