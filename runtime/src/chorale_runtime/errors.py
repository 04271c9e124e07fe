"""Errors are a table: exception type -> status code and reason.

A service states once which of its exceptions mean what (`ERRORS` in its servicer). The
exception's public fields become the metadata of `google.rpc.ErrorInfo`, its text the
message. Whatever no table knows is INTERNAL: opaque to the caller, with the trace id
under which the log tells the rest.

Fields with a meaning of their own:

* `retry_after_seconds` adds `RetryInfo`,
* `quota` adds `QuotaFailure`,
* `missing` adds `PreconditionFailure` of type `MISSING`,
* a method `status_details()` may return further detail messages.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from chorale_runtime import dependencies, pages, refusals, traces
from chorale_runtime.refusals import cut

ErrorTable = Mapping[type[BaseException], tuple[StatusCode, str]]
Entry = tuple[StatusCode, str]

INTERNAL: Entry = (StatusCode.INTERNAL, "INTERNAL")
_INTERNAL_TEXT = "The server failed in a way it does not know. Report the trace id."

# Peers accept 8 KiB of trailing metadata, in which a status travels as text (every byte outside
# printable ASCII as three) and again, with its details, in base64. What comes from outside is
# cut to size: a status that does not fit is lost altogether.
_TEXT_BYTES_MAX = 1200
_VALUE_BYTES_MAX = 300
_METADATA_BYTES_MAX = 1500
_DESCRIPTION_BYTES_MAX = 150

_OWN: Mapping[type[BaseException], Entry] = {
    refusals.RequestInvalid: (StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
    refusals.RequestTooLarge: (StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE"),
    refusals.NotServed: (StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
    refusals.NotReady: (StatusCode.UNAVAILABLE, "NOT_READY"),
    refusals.CallsFull: (StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    refusals.DeadlineExceeded: (StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    refusals.CredentialsMissing: (StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"),
    refusals.CredentialsInvalid: (StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"),
    refusals.CredentialsExpired: (StatusCode.UNAUTHENTICATED, "CREDENTIALS_EXPIRED"),
    refusals.CallForbidden: (StatusCode.PERMISSION_DENIED, "CALL_FORBIDDEN"),
    refusals.RateLimited: (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    pages.PageTokenInvalid: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
    dependencies.DependencyUnavailable: (StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
    dependencies.StorageFull: (StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
    asyncio.CancelledError: (StatusCode.CANCELLED, "OPERATION_CANCELLED"),
}

_OPERATIONS = "chorale_runtime.operations.errors"

# Exceptions of modules that a service may do without: named, so that telling an error
# imports none of them.
_BY_NAME: Mapping[str, Entry] = {
    "chorale_runtime.processes.QueueFull": (StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    f"{_OPERATIONS}.OperationNotFound": (StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND"),
    f"{_OPERATIONS}.OperationCancelled": (StatusCode.CANCELLED, "OPERATION_CANCELLED"),
    f"{_OPERATIONS}.OperationAbandoned": (StatusCode.ABORTED, "OPERATION_ABANDONED"),
    f"{_OPERATIONS}.RequestIdReused": (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
}


class _RuntimeErrors(Mapping[type[BaseException], Entry]):
    """The runtime's table; a look-up imports nothing, walking it imports every owner."""

    def __getitem__(self, kind: type[BaseException]) -> Entry:
        entry = _OWN.get(kind) or _BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}")
        if entry is None:
            raise KeyError(kind)
        return entry

    def __iter__(self) -> Iterator[type[BaseException]]:
        yield from _OWN
        for name in _BY_NAME:
            module, _, kind = name.rpartition(".")
            yield getattr(importlib.import_module(module), kind)

    def __len__(self) -> int:
        return len(_OWN) + len(_BY_NAME)


RUNTIME_ERRORS: ErrorTable = _RuntimeErrors()


def entry_of(kind: type[BaseException], table: ErrorTable) -> Entry | None:
    """Finds the entry of an exception type or of the nearest type it derives from."""
    for ancestor in kind.__mro__:
        entry = table.get(ancestor) or RUNTIME_ERRORS.get(ancestor)
        if entry is not None:
            return entry
    return None


def to_status(error: BaseException, table: ErrorTable, domain: str) -> status_pb2.Status:
    """Says an exception as `google.rpc.Status`, with `ErrorInfo` and what its fields mean."""
    entry = entry_of(type(error), table)
    if entry is None:
        return internal(domain)
    code, reason = entry
    status = status_pb2.Status(code=code.value[0], message=cut(str(error), _TEXT_BYTES_MAX))
    fields = {key: value for key, value in vars(error).items() if not key.startswith("_")}
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=_metadata(fields))
    for detail in (info, *_details_of(error, fields)):
        status.details.add().Pack(detail)
    return status


def trailers(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """Puts a status where gRPC clients look for it."""
    return (("grpc-status-details-bin", status.SerializeToString()),)


_CODES = {code.value[0]: code for code in StatusCode}


def code_of(status: status_pb2.Status) -> StatusCode:
    """Reads the gRPC code of a status."""
    return _CODES[status.code]


def internal(domain: str) -> status_pb2.Status:
    """The status of whatever no table knows."""
    status = status_pb2.Status(code=StatusCode.INTERNAL.value[0], message=_INTERNAL_TEXT)
    info = error_details_pb2.ErrorInfo(reason=INTERNAL[1], domain=domain)
    info.metadata["traceId"] = traces.trace_id()
    status.details.add().Pack(info)
    return status


def _details_of(error: BaseException, fields: Mapping[str, Any]) -> Iterator[Message]:
    if (seconds := fields.get("retry_after_seconds")) is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(max(0, round(float(seconds) * 1000)))
        yield retry
    if (quota := fields.get("quota")) is not None:
        failure = error_details_pb2.QuotaFailure()
        failure.violations.add(
            subject=cut(_text(quota), _VALUE_BYTES_MAX),
            description=cut(str(error), _DESCRIPTION_BYTES_MAX),
        )
        yield failure
    if (missing := fields.get("missing")) is not None:
        precondition = error_details_pb2.PreconditionFailure()
        precondition.violations.add(
            type="MISSING",
            subject=cut(_text(missing), _VALUE_BYTES_MAX),
            description=cut(str(error), _DESCRIPTION_BYTES_MAX),
        )
        yield precondition
    tell = getattr(error, "status_details", None)
    if tell is not None:
        yield from tell()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_text(part) for part in value)
    return str(value)


def _metadata(fields: Mapping[str, Any]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    left = _METADATA_BYTES_MAX
    for key, value in fields.items():
        if value is None:
            continue
        name, text = _lower_camel(key), cut(_text(value), _VALUE_BYTES_MAX)
        left -= len(name) + len(text.encode())
        if left < 0:
            break
        metadata[name] = text
    return metadata


def _lower_camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
