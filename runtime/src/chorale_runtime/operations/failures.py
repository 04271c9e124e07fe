"""What a failed attempt leads to: another one, or an error for the caller."""

import logging
import random
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc import StatusCode

from chorale_runtime import errors as runtime_errors
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.errors import ErrorTable
from chorale_runtime.operations.errors import OperationAbandoned
from chorale_runtime.operations.records import Record
from chorale_runtime.operations.transitions import Ending
from chorale_runtime.operations.work import Step, Work
from chorale_runtime.processes import ProcessDied, QueueFull

logger = logging.getLogger(__name__)

TEMPORARY_CODES = {StatusCode.UNAVAILABLE.value[0], StatusCode.ABORTED.value[0]}
# From another service also this: it was slow for this one call, not for our whole time.
TEMPORARY_ANSWERS = {*TEMPORARY_CODES, StatusCode.DEADLINE_EXCEEDED.value[0]}
TEMPORARY_ERRORS = (ProcessDied, QueueFull)
PROCESS_DIED = (StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


@dataclass(frozen=True)
class Retry:
    """Another attempt, after a while."""

    delay_seconds: float
    message: str


class Speaker:
    """Says exceptions as the service's callers hear them."""

    def __init__(self, table: ErrorTable, domain: str) -> None:
        self._table: ErrorTable = {**table, ProcessDied: PROCESS_DIED}
        self._domain = domain

    def status(self, error: BaseException) -> status_pb2.Status:
        """Say an exception; what another service answered is passed on as it said it."""
        if isinstance(error, grpc.aio.AioRpcError):
            answered = _answered(error)
            if answered is not None:
                return answered
            if error.code() in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
                error = DependencyUnavailable("service", error.details() or "")
        return runtime_errors.to_status(error, self._table, self._domain)

    def __call__(self, error: BaseException) -> bytes:
        """Say an exception as it is stored."""
        return bytes(self.status(error).SerializeToString())


def detail_of(error: BaseException) -> str:
    """What the log may know of an error beyond what its caller is told."""
    return str(getattr(error, "detail", error))


def judge(error: BaseException, run: Record, work: Work, speaker: Speaker) -> Retry | Ending:
    """Decide what the failure of an attempt leads to, by the class of its error."""
    status = speaker.status(error)
    failures = run.failures + 1
    is_internal = status.code == StatusCode.INTERNAL.value[0]
    logger.log(
        logging.ERROR if is_internal else logging.INFO,
        "operation_attempt_failed",
        extra={
            "operation": run.name,
            "method": run.method,
            "attempt": run.attempt,
            "error": type(error).__name__,
            "detail": detail_of(error),
        },
        exc_info=error if is_internal else None,
    )
    if _is_temporary(error, status, work) and failures < work.attempts_max:
        # Spread out, so that what failed together does not come back together.
        delay_seconds = work.delay_seconds(failures) * random.uniform(0.8, 1.2)  # noqa: S311
        return Retry(delay_seconds, f"{status.message} It begins again in {delay_seconds:.0f} s.")
    if isinstance(error, ProcessDied):
        status = speaker.status(OperationAbandoned(run.name, run.attempt))
    step = Step("failed", 0.0, status.message)
    return Ending("failed", step, error=bytes(status.SerializeToString()))


def _is_temporary(error: BaseException, status: status_pb2.Status, work: Work) -> bool:
    if isinstance(error, (*TEMPORARY_ERRORS, *work.retry)):
        return True
    codes = TEMPORARY_ANSWERS if isinstance(error, grpc.aio.AioRpcError) else TEMPORARY_CODES
    return status.code in codes


def _answered(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """Read the status with details that a service of the mesh answers with."""
    metadata: Any = error.trailing_metadata() or ()  # pairs; the stubs disagree
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None
