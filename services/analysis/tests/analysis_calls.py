"""Calling AnalysisService in tests, and what comes back."""

import uuid
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf import message
from google.rpc import error_details_pb2, status_pb2

M = TypeVar("M", bound=message.Message)


def asking(kind: Any, audio: str, **fields: Any) -> Any:
    """A request about this audio, under a new UUID."""
    return kind(audio=audio, request_id=str(uuid.uuid4()), **fields)


def unpacked(operation: Any, kind: type[M]) -> M:
    """The response of a finished operation."""
    answer = kind()
    assert operation.response.Unpack(answer), operation.error
    return answer


def reason(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """The `ErrorInfo` of a status."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info


def refusal(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The status with which a call was refused."""
    trailers: Any = error.trailing_metadata()
    return status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])


async def refused(call: Any) -> tuple[str, error_details_pb2.ErrorInfo]:
    """The code and reason with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason(refusal(caught.value))
