"""Why the runtime itself turns a call away, before or instead of the servicer.

Refusal
 +-- RequestInvalid        the request breaks a rule of the contract
 +-- RequestTooLarge       one message has more bytes than the server takes
 +-- NotServed             nothing here answers this method
 +-- NotReady              starting or draining
 +-- CallsFull             too many calls in flight
 +-- DeadlineExceeded      the time for the answer is over
 +-- CredentialsMissing
 +-- CredentialsInvalid
 +-- CredentialsExpired
 +-- CallForbidden         known, and may not
 +-- RateLimited           more requests than the tier allows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message
from google.rpc import error_details_pb2

# google.rpc.Status travels in trailing metadata, of which peers take 8 KiB in all (`errors`).
_VIOLATIONS_BYTES_MAX = 1200
_FIELD_BYTES_MAX = 150


@dataclass(frozen=True)
class FieldViolation:
    """One broken rule: which field, which rule, and what the rule says."""

    field: str
    rule: str
    message: str


class Refusal(Exception):
    """The runtime turned the call away."""


class RequestInvalid(Refusal):
    """The request breaks a rule of the contract."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__(violations)
        first = violations[0]
        self.field, self.rule = first.field, first.rule
        self._violations = tuple(violations)

    def __str__(self) -> str:
        first, others = self._violations[0], len(self._violations) - 1
        where = f"{first.field}: " if first.field else ""
        more = f" And {others} more." if others else ""
        return f"The request is invalid: {where}{first.message}{more}"

    def status_details(self) -> Sequence[Message]:
        """Tells every broken rule, up to what fits into a status."""
        bad = error_details_pb2.BadRequest()
        for violation in self._violations:
            bad.field_violations.add(
                field=cut(violation.field, _FIELD_BYTES_MAX),
                description=cut(violation.message, _FIELD_BYTES_MAX),
                reason=cut(violation.rule, _FIELD_BYTES_MAX),
            )
            if bad.ByteSize() > _VIOLATIONS_BYTES_MAX:
                break
        return (bad,)


class RequestTooLarge(Refusal):
    """One message has more bytes than the server takes."""

    def __init__(self, found_bytes: int, limit_bytes: int) -> None:
        super().__init__(found_bytes, limit_bytes)
        self.found_bytes, self.limit_bytes = found_bytes, limit_bytes

    def __str__(self) -> str:
        return (
            f"A message of {self.found_bytes} bytes is too large: {self.limit_bytes} are allowed."
            " Send sound in chunks of at most 1 MiB, long lists in several calls."
        )


class NotServed(Refusal):
    """The method is not served by this build."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.method = method

    def __str__(self) -> str:
        return f"{self.method} is not served here."


class NotReady(Refusal):
    """The service is starting or draining."""

    def __init__(self, state: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(state, retry_after_seconds)
        self.state, self.retry_after_seconds = state, retry_after_seconds

    def __str__(self) -> str:
        return f"The service is {self.state}; try again in {self.retry_after_seconds:g} s."


class CallsFull(Refusal):
    """The process has as many calls in flight as it may."""

    def __init__(self, limit: int, retry_after_seconds: float = 1.0) -> None:
        super().__init__(limit, retry_after_seconds)
        self.queue, self.limit, self.retry_after_seconds = "calls", limit, retry_after_seconds

    def __str__(self) -> str:
        return f"{self.limit} calls are in flight, which is the limit."


class DeadlineExceeded(Refusal):
    """The deadline passed before the answer was ready."""

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(timeout_seconds)
        self.timeout_seconds = timeout_seconds

    def __str__(self) -> str:
        return f"The answer was not ready after {self.timeout_seconds:g} s."


class CredentialsMissing(Refusal):
    """The call carries no credentials."""

    def __str__(self) -> str:
        return "Credentials are needed: send `authorization: Bearer <token>` or `x-api-key`."


class CredentialsInvalid(Refusal):
    """The credentials are forged, malformed, revoked or meant for someone else."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"The credentials are not accepted: {self.why}."


class CredentialsExpired(Refusal):
    """The token was valid and its time is over."""

    def __str__(self) -> str:
        return "The token has expired; ask for a new one."


class CallForbidden(Refusal):
    """The caller is known and may not make this call."""

    def __init__(self, method: str, needed: str) -> None:
        super().__init__(method, needed)
        self.method, self.needed = method, needed

    def __str__(self) -> str:
        return f"This call may be made only by {self.needed}."


class RateLimited(Refusal):
    """The caller made more requests than its tier allows."""

    def __init__(
        self,
        principal: str,
        tier: str,
        limit: int,
        window_seconds: int,
        retry_after_seconds: float,
    ) -> None:
        super().__init__(principal, tier, limit, window_seconds, retry_after_seconds)
        self.principal, self.tier, self.limit = principal, tier, limit
        self.window_seconds, self.retry_after_seconds = window_seconds, retry_after_seconds
        self.quota = "requests_per_hour"

    def __str__(self) -> str:
        return (
            f"The {self.tier} tier allows {self.limit} requests in {self.window_seconds} s;"
            f" the next is possible in {self.retry_after_seconds:.0f} s."
        )


def cut(text: str, bytes_max: int) -> str:
    """Shortens a text to what so many bytes hold once it is percent-encoded, as in a trailer."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()  # lone surrogates have no encoding
    left = bytes_max
    for position, character in enumerate(text):
        left -= 1 if " " <= character <= "~" else 3 * len(character.encode())
        if left < 0:
            return f"{text[:position]}..."
    return text
