"""Turns what gRPC reports into a `ChoraleError`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from chorale_client.errors import (
    ERRORS_BY_CODE,
    ChoraleError,
    MeshNotFoundError,
    QuotaError,
    ServerError,
    UnavailableError,
    Violation,
)

QUOTA_WAIT_SECONDS_MAX = 30.0  # a longer wait is for the caller to decide
DETAILS_KEY = "grpc-status-details-bin"
# What gRPC itself says of a message over a bound of its own, on either side, without any details.
_OVERSIZED = re.compile(r"(Sent|Received) message larger than max \((\d+) vs\. (\d+)\)")
CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def from_rpc(error: grpc.aio.AioRpcError, trace_id: str = "") -> ChoraleError:
    """The error of a call that failed."""
    trailers = tuple(error.trailing_metadata() or ())
    status = _status(trailers)
    if status is None or CODES.get(status.code) != error.code().name:
        text = error.details() or ""
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and (over := _OVERSIZED.search(text)):
            return _oversized(over, "CLIENT: Received" in text, trace_id)
        status = status_pb2.Status(code=error.code().value[0], message=text)
    return from_status(status, trace_id)


def from_status(status: status_pb2.Status, trace_id: str = "") -> ChoraleError:
    """The error of an operation that failed, or of a call whose status is known."""
    code = CODES.get(status.code, "UNKNOWN")
    details = _details(status)
    return ERRORS_BY_CODE.get(code, ServerError)(
        status.message or f"The call failed with {code} and said nothing more.",
        code=code,
        reason=details.info.reason,
        domain=details.info.domain,
        metadata=details.info.metadata,
        trace_id=details.info.metadata.get("traceId", trace_id),
        retry_after_seconds=details.retry_after_seconds,
        violations=details.violations,
        missing=details.missing,
    )


def _oversized(over: re.Match[str], is_answer: bool, trace_id: str) -> QuotaError:
    """The error of a message that gRPC itself refused for its size."""
    _, found, limit = over.groups()
    what, remedy = (
        ("answer", "Ask for less at once: a span, a smaller page.")
        if is_answer
        else ("request", "Send less in one message: sound in chunks of at most 1 MiB.")
    )
    return QuotaError(
        f"The {what} has a message of {found} bytes; {limit} are allowed. {remedy}",
        reason=f"{what.upper()}_TOO_LARGE",
        metadata={"foundBytes": found, "limitBytes": limit, "remedy": remedy},
        trace_id=trace_id,
    )


def is_passing(error: ChoraleError) -> bool:
    """Whether the same attempt may well succeed in a moment, so that a resumable call resumes."""
    if isinstance(error, MeshNotFoundError):
        return False  # the first contact was waited for already
    if isinstance(error, QuotaError):
        delay = error.retry_after_seconds
        return delay is not None and delay <= QUOTA_WAIT_SECONDS_MAX
    return is_of_transport(error)


def is_of_transport(error: ChoraleError) -> bool:
    """Whether nobody could answer: the service is away, or the way to it broke.

    An error without a reason was made by no server of the mesh. A server that is killed, for one,
    leaves CANCELLED behind.
    """
    broken = not error.reason and error.code in ("INTERNAL", "UNKNOWN", "CANCELLED")
    return broken or isinstance(error, UnavailableError)


def is_damaged_chunk(error: ChoraleError) -> bool:
    """Whether one chunk arrived damaged: the upload stands, and goes on before that chunk."""
    return error.reason == "CHECKSUM_MISMATCH" and error.metadata.get("of") == "chunk"


@dataclass
class _Details:
    info: error_details_pb2.ErrorInfo = field(default_factory=error_details_pb2.ErrorInfo)
    retry_after_seconds: float | None = None
    violations: list[Violation] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def _details(status: status_pb2.Status) -> _Details:
    """What the caller can act on, out of the details that the contract names."""
    found = _Details()
    retry = error_details_pb2.RetryInfo()
    shape = error_details_pb2.BadRequest()
    needs = error_details_pb2.PreconditionFailure()
    for detail in status.details:
        try:
            if detail.Unpack(found.info):
                continue
            if detail.Unpack(retry):
                found.retry_after_seconds = retry.retry_delay.ToTimedelta().total_seconds()
            elif detail.Unpack(shape):
                found.violations += [
                    Violation(v.field, v.description) for v in shape.field_violations
                ]
            elif detail.Unpack(needs):
                found.missing += [v.subject for v in needs.violations]
        except DecodeError:  # a proxy's or a stranger's detail: the code alone must do
            continue
    return found


def _status(trailers: Iterable[Any]) -> status_pb2.Status | None:
    for key, value in trailers:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None
