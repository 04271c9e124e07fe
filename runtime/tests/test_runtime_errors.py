"""Errors by table: what an exception becomes on the wire, in all cardinalities."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from chorale.errors.v1 import error_reason_pb2
from chorale_runtime import errors, pages, refusals
from chorale_runtime.dependencies import DependencyUnavailable, StorageFull
from chorale_runtime.errors import RUNTIME_ERRORS, to_status
from chorale_runtime.operations import errors as operations
from chorale_runtime.processes import QueueFull
from google.rpc import error_details_pb2
from songs import CARDINALITIES, Songs, detail, info, serving, status_of


class TooShort(Exception):
    """A service's own exception, with fields."""

    def __init__(self, frame_count: int, minimum_frame_count: int) -> None:
        super().__init__(frame_count, minimum_frame_count)
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count
        self._private = "not for callers"

    def __str__(self) -> str:
        return f"The audio has {self.frame_count} frames; {self.minimum_frame_count} are needed."


class MuchTooShort(TooShort):
    """One that no table names itself."""


class Missing(Exception):
    """With all fields that have a meaning."""

    def __init__(self) -> None:
        super().__init__()
        self.missing, self.quota, self.retry_after_seconds = "audio/00", "uploads_per_day", 1.5
        self.is_final, self.names, self.nothing = True, ["a", "b"], None


TABLE = {
    TooShort: (grpc.StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_SHORT"),
    Missing: (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
}

RAISED: dict[type[BaseException], Callable[[], BaseException]] = {
    refusals.RequestInvalid: lambda: refusals.RequestInvalid(
        [refusals.FieldViolation("name", "string.pattern", "is wrong.")]
    ),
    refusals.RequestTooLarge: lambda: refusals.RequestTooLarge(3 << 20, 1 << 20),
    refusals.NotServed: lambda: refusals.NotServed("/a.B/C"),
    refusals.NotReady: lambda: refusals.NotReady("starting"),
    refusals.CallsFull: lambda: refusals.CallsFull(5),
    refusals.DeadlineExceeded: lambda: refusals.DeadlineExceeded(3.0),
    refusals.CredentialsMissing: refusals.CredentialsMissing,
    refusals.CredentialsInvalid: lambda: refusals.CredentialsInvalid("forged"),
    refusals.CredentialsExpired: refusals.CredentialsExpired,
    refusals.CallForbidden: lambda: refusals.CallForbidden("/a.B/C", "services"),
    refusals.RateLimited: lambda: refusals.RateLimited("p1", "free", 10, 3600, 99.0),
    DependencyUnavailable: lambda: DependencyUnavailable("database", "host db.internal refused"),
    StorageFull: lambda: StorageFull("objects"),
    asyncio.CancelledError: asyncio.CancelledError,
    QueueFull: lambda: QueueFull("mastering.cpu", 7, 5.0),
    operations.OperationNotFound: lambda: operations.OperationNotFound("operations/1"),
    operations.OperationCancelled: lambda: operations.OperationCancelled("operations/1"),
    operations.OperationAbandoned: lambda: operations.OperationAbandoned("operations/1", 3),
    operations.RequestIdReused: lambda: operations.RequestIdReused("1c9e", "operations/1"),
    pages.PageTokenInvalid: pages.PageTokenInvalid,
}


def test_every_entry_of_the_runtime_is_tried_here() -> None:
    """A new entry cannot go untested."""
    assert set(RUNTIME_ERRORS) == set(RAISED)
    assert len(RUNTIME_ERRORS) == len(RAISED)


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
async def test_every_entry_of_the_runtime_reaches_the_caller(kind: type[BaseException]) -> None:
    """Code, text and reason arrive; the reason is in the contract; texts are sentences."""

    async def fail(*_: Any) -> None:
        raise RAISED[kind]()

    async with serving(Songs(before=fail)) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary", timeout=5)
    code, reason = RUNTIME_ERRORS[kind]
    assert raised.value.code() is code
    found = info(raised.value)
    assert (found.reason, found.domain) == (reason, "songs.chorale")
    assert f"ERROR_REASON_{reason}" in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    passes = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    if passes and kind is not refusals.RequestTooLarge:  # that one no waiting makes smaller
        retry = detail(status_of(raised.value), error_details_pb2.RetryInfo)
        assert retry.retry_delay.ToMilliseconds() > 0
    if reason == "RATE_LIMITED":
        quota = detail(status_of(raised.value), error_details_pb2.QuotaFailure)
        assert quota.violations[0].subject == "requests_per_hour"
        assert found.metadata["windowSeconds"] == "3600"
    assert "db.internal" not in str(status_of(raised.value))


@pytest.mark.parametrize("cardinality", CARDINALITIES)
async def test_an_exception_in_the_table_becomes_its_reason(cardinality: str) -> None:
    """Public fields become metadata, in every cardinality; private ones do not."""

    async def fail(*_: Any) -> None:
        raise MuchTooShort(512, 17640)

    async with serving(Songs(before=fail), errors=TABLE) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call(cardinality, timeout=5)
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == "The audio has 512 frames; 17640 are needed."
    found = info(raised.value)
    assert found.reason == "AUDIO_TOO_SHORT"
    assert dict(found.metadata) == {"frameCount": "512", "minimumFrameCount": "17640"}


@pytest.mark.parametrize("cardinality", ["unary_stream", "stream_stream"])
async def test_an_exception_after_the_first_message_becomes_its_reason(cardinality: str) -> None:
    """What was sent before arrives, and then the status."""

    async def fail(*_: Any) -> None:
        raise TooShort(1, 2)

    answers: list[Any] = []
    async with serving(Songs(after=fail), errors=TABLE) as running:
        stubs = running.stubs
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stubs.call(cardinality, into=answers, timeout=5)
    assert len(answers) == 1
    assert info(raised.value).reason == "AUDIO_TOO_SHORT"


@pytest.mark.parametrize("cardinality", CARDINALITIES)
async def test_an_unknown_exception_is_opaque(
    cardinality: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns a trace id, the log learns everything under it."""

    async def fail(*_: Any) -> None:
        raise ValueError("the password is swordfish")

    with caplog.at_level("ERROR"):
        async with serving(Songs(before=fail)) as running:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await running.stubs.call(cardinality, timeout=5)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert "swordfish" not in str(status_of(raised.value))
    found = info(raised.value)
    assert found.reason == "INTERNAL"
    assert len(found.metadata["traceId"]) == 32
    told = [record for record in caplog.records if record.name == "chorale_runtime.calls"]
    assert len(told) == 1
    assert "swordfish" in str(told[0].exc_info)


async def test_an_exception_whose_text_fails_is_internal() -> None:
    """A mistake in telling an error does not leave the caller without a status."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async def fail(*_: Any) -> None:
        raise Broken

    table = {Broken: (grpc.StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND")}
    async with serving(Songs(before=fail), errors=table) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary", timeout=5)
    assert info(raised.value).reason == "INTERNAL"


async def test_a_servicers_own_abort_passes_unchanged() -> None:
    """Whoever aborts by hand gets what they said."""

    async def fail(_: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.ABORTED, "by hand")

    async with serving(Songs(before=fail)) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary", timeout=5)
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.ABORTED, "by hand")


async def test_a_long_error_still_arrives() -> None:
    """Texts and fields of any length, in any script, fit into the trailers a client takes."""

    async def fail(*_: Any) -> None:
        error = TooShort(1, 2)
        vars(error).update({f"field_{number}": "音" * 5000 for number in range(40)})
        raise error

    class Verbose(TooShort):
        def __str__(self) -> str:
            return "音" * 10_000

    async def fail_verbosely(*_: Any) -> None:
        raise Verbose(1, 2)

    for failing in (fail, fail_verbosely):
        async with serving(Songs(before=failing), errors=TABLE) as running:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await running.stubs.call("unary_unary", timeout=5)
        assert info(raised.value).reason == "AUDIO_TOO_SHORT"


def test_fields_with_a_meaning_become_details() -> None:
    """retry_after_seconds, quota and missing speak the language of google.rpc."""
    status = to_status(Missing(), TABLE, "songs.chorale")
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1500
    quota = detail(status, error_details_pb2.QuotaFailure)
    assert quota.violations[0].subject == "uploads_per_day"
    precondition = detail(status, error_details_pb2.PreconditionFailure)
    assert precondition.violations[0].type == "MISSING"
    assert precondition.violations[0].subject == "audio/00"
    metadata = detail(status, error_details_pb2.ErrorInfo).metadata
    assert metadata["isFinal"] == "true"
    assert metadata["names"] == "a,b"
    assert "nothing" not in metadata


def test_a_services_table_wins_over_the_runtimes() -> None:
    """A service may say more precisely what the runtime says in general."""
    table: errors.ErrorTable = {StorageFull: (grpc.StatusCode.UNAVAILABLE, "NOT_READY")}
    assert errors.entry_of(StorageFull, table) == table[StorageFull]
