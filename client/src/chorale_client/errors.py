"""Everything that can go wrong, grouped by what the caller should do about it.

    ChoraleError               whatever the mesh or the way to it answers but an answer
    ├── RequestError           mend the request: INVALID_ARGUMENT, OUT_OF_RANGE
    ├── NotFoundError          there is no such thing, or it is not yours: NOT_FOUND
    ├── ConflictError          look how it stands, then decide: ALREADY_EXISTS, ABORTED
    ├── AuthError              bring (other) credentials: UNAUTHENTICATED, PERMISSION_DENIED
    ├── QuotaError             wait `retry_after_seconds`, or ask for less: RESOURCE_EXHAUSTED
    ├── PreconditionError      bring what is `missing` first: FAILED_PRECONDITION
    ├── UnavailableError       try again later: UNAVAILABLE
    │   └── MeshNotFoundError  start the mesh, or say where it is (found out by the client)
    ├── DeadlineError          allow more time; also a TimeoutError: DEADLINE_EXCEEDED
    ├── CancelledError         it was cancelled at the other end: CANCELLED
    ├── DataLossError          what arrived is not what was sent: DATA_LOSS
    ├── NotServedError         use a build that serves the call: UNIMPLEMENTED
    └── ServerError            report `trace_id` to whoever runs the mesh: INTERNAL, UNKNOWN

`reason`, `domain` and `metadata` are those of `google.rpc.ErrorInfo`; the reasons are listed in
`chorale/errors/v1/error_reason.proto`. Errors found by the client itself have the domain
`client.chorale`. No gRPC error leaves this package. What the caller's own file or iterator
raises, and `asyncio.CancelledError` when its own task is cancelled, pass through unchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CLIENT_DOMAIN = "client.chorale"


@dataclass(frozen=True)
class Violation:
    """One field that breaks a rule of the contract."""

    field: str
    description: str


class ChoraleError(Exception):
    """The mesh, or the way to it, answered anything but an answer."""

    code = "UNKNOWN"  # of gRPC, where the error itself carries none

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        domain: str = CLIENT_DOMAIN,
        metadata: Mapping[str, str] | None = None,
        trace_id: str = "",
        retry_after_seconds: float | None = None,
        violations: Sequence[Violation] = (),
        missing: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.reason = reason
        self.domain = domain
        self.metadata = dict(metadata or {})
        self.trace_id = trace_id
        self.retry_after_seconds = retry_after_seconds
        self.violations = tuple(violations)
        self.missing = tuple(missing)

    def __str__(self) -> str:
        faults = "".join(f"\n  {fault.field}: {fault.description}" for fault in self.violations)
        return f"{self.message}{faults}"

    @property
    def remedy(self) -> str:
        """What the server says would help. Empty when it says nothing."""
        return self.metadata.get("remedy", "")


class RequestError(ChoraleError):
    """The request cannot be served as it is: mend it. `violations` names the fields."""

    code = "INVALID_ARGUMENT"


class NotFoundError(ChoraleError):
    """There is no such thing, or it is not the caller's."""

    code = "NOT_FOUND"


class ConflictError(ChoraleError):
    """Something is there already, or somebody else was faster."""

    code = "ABORTED"


class AuthError(ChoraleError):
    """The caller is not known, or may not do this."""

    code = "UNAUTHENTICATED"


class QuotaError(ChoraleError):
    """A limit is reached. Waiting `retry_after_seconds` helps when it is set."""

    code = "RESOURCE_EXHAUSTED"


class PreconditionError(ChoraleError):
    """Something else must be done first. `missing` names what is not there."""

    code = "FAILED_PRECONDITION"


class UnavailableError(ChoraleError):
    """Nobody can answer now. Trying again later may help."""

    code = "UNAVAILABLE"


class MeshNotFoundError(UnavailableError):
    """The client does not know where the mesh is, or nothing answers there."""


class DeadlineError(ChoraleError, TimeoutError):
    """The time allowed for the call is over."""

    code = "DEADLINE_EXCEEDED"


class CancelledError(ChoraleError):
    """The call or the operation was cancelled at the other end."""

    code = "CANCELLED"


class DataLossError(ChoraleError):
    """Bytes were damaged on the way or at rest."""

    code = "DATA_LOSS"


class NotServedError(ChoraleError):
    """The call is not served by the build that answers."""

    code = "UNIMPLEMENTED"


class ServerError(ChoraleError):
    """The server failed in a way it does not know, or broke the contract."""

    code = "INTERNAL"


# The one place that says which code is which error.
ERRORS_BY_CODE: Mapping[str, type[ChoraleError]] = {
    "CANCELLED": CancelledError,
    "UNKNOWN": ServerError,
    "INVALID_ARGUMENT": RequestError,
    "DEADLINE_EXCEEDED": DeadlineError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "PERMISSION_DENIED": AuthError,
    "RESOURCE_EXHAUSTED": QuotaError,
    "FAILED_PRECONDITION": PreconditionError,
    "ABORTED": ConflictError,
    "OUT_OF_RANGE": RequestError,
    "UNIMPLEMENTED": NotServedError,
    "INTERNAL": ServerError,
    "UNAVAILABLE": UnavailableError,
    "DATA_LOSS": DataLossError,
    "UNAUTHENTICATED": AuthError,
}
