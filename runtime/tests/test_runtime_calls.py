"""What happens around every call: all cardinalities, validation, bounds, deadlines, ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from chorale.ingest.v1 import reading_pb2, upload_pb2
from chorale.mastering.v1 import loudness_pb2
from chorale_runtime import caller, deadline
from chorale_runtime.settings import ServerSettings
from google.rpc import error_details_pb2
from songs import AUDIO, CARDINALITIES, UPLOAD, Songs, chunks, detail, info, serving, status_of

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("cardinality", CARDINALITIES)
async def test_every_cardinality_answers(cardinality: str) -> None:
    """Requests go in and answers come out, in order."""
    async with serving() as running:
        answers = await running.stubs.call(cardinality, timeout=5)
    match cardinality:
        case "unary_unary":
            assert answers[0].upload.name == UPLOAD
        case "unary_stream":
            assert [answer.data for answer in answers] == [b"first", b"second"]
        case "stream_unary":
            assert answers[0].committed_bytes == 30
        case _:
            assert [answer.revision for answer in answers] == [1, 2, 3]


@pytest.mark.parametrize("cardinality", CARDINALITIES)
async def test_inside_a_call_the_caller_and_the_deadline_are_known(cardinality: str) -> None:
    """Code deep inside needs no context handed down."""
    seen: list[Any] = []

    async def look(*_: Any) -> None:
        seen.append((caller.current().principal, caller.current().deadline_seconds_left()))

    async with serving(Songs(before=look)) as running:
        await running.stubs.call(cardinality, timeout=5)
    principal, left = seen[0]
    assert principal == "local"
    assert 4 < left <= 5.1  # on the wire a timeout is rounded up


def test_outside_a_call_there_is_no_caller() -> None:
    """Asking for one is a mistake that says so."""
    with pytest.raises(caller.NoCaller, match="outside"):
        caller.current()


async def test_a_worker_acts_as_the_owner_of_the_job() -> None:
    """What a job makes belongs to who asked for it, and only while it runs."""
    with caller.acting(caller.Caller("ada", "free")):
        assert caller.current().principal == "ada"
    assert caller.current_or_none() is None


async def test_an_invalid_request_is_told_field_by_field() -> None:
    """BadRequest names every field and the rule it breaks."""
    request = reading_pb2.ReadBytesRequest(audio="../etc", offset_bytes=-1)
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.ingest.ReadBytes(request, timeout=5).read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(raised.value).metadata["field"] == "audio"
    broken = detail(status_of(raised.value), error_details_pb2.BadRequest).field_violations
    assert [(violation.field, violation.reason) for violation in broken] == [
        ("audio", "string.pattern"),
        ("offset_bytes", "int64.gte_lte"),
    ]


async def test_bytes_that_are_no_message_are_an_invalid_request() -> None:
    """Garbage is the caller's mistake, not ours."""
    async with serving() as running:
        for method in ("ingest.v1.IngestService/GetUpload", "ingest.v1.IngestService/ReadBytes"):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await running.channel.unary_unary(f"/chorale.{method}")(b"\xff\xff\xff", timeout=5)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert info(raised.value).metadata["rule"] == "wire_format"


async def test_every_message_of_a_stream_is_validated() -> None:
    """The third of three messages is held to the rules like the first."""

    async def requests() -> AsyncIterator[Any]:
        async for request in chunks(2):
            yield request
        yield upload_pb2.WriteUploadRequest(upload=UPLOAD, offset_bytes=-5)

    songs = Songs()
    async with serving(songs) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.ingest.WriteUpload(requests(), timeout=5)
    assert info(raised.value).metadata["field"] == "offset_bytes"
    assert songs.seen == [0, 10]


@pytest.mark.parametrize("size", [MEBIBYTE - 1, MEBIBYTE])
async def test_a_chunk_of_a_mebibyte_passes(size: int) -> None:
    """The message that carries it is larger, and still received."""
    async with serving() as running:
        answer = await running.stubs.ingest.WriteUpload(chunks(2, size), timeout=10)
    assert answer.committed_bytes == 2 * size


async def test_a_chunk_over_a_mebibyte_is_refused_by_its_rule() -> None:
    """What still fits a message breaks the contract's bound and is told so."""
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.ingest.WriteUpload(chunks(1, MEBIBYTE + 1), timeout=10)
    found = info(raised.value)
    assert (found.metadata["field"], found.metadata["rule"]) == ("data", "bytes.max_len")


@pytest.mark.parametrize("method", ["GetUpload", "WriteUpload"])
async def test_an_oversized_message_is_told_both_sizes_and_what_to_do(method: str) -> None:
    """REQUEST_TOO_LARGE, unary and streamed; the next call on the same connection works."""
    size = 3 * MEBIBYTE
    one = upload_pb2.GetUploadRequest(name="x" * size)
    songs = Songs()
    async with serving(songs) as running:
        request: Any = chunks(1, size) if method == "WriteUpload" else one
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await getattr(running.stubs.ingest, method)(request, timeout=10)
        await running.stubs.call("unary_unary", timeout=5)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    found = info(raised.value)
    assert found.reason == "REQUEST_TOO_LARGE"
    assert size < int(found.metadata["foundBytes"]) < size + 100
    assert found.metadata["limitBytes"] == str(MEBIBYTE + 64 * 1024)
    assert "chunks of at most 1 MiB" in (raised.value.details() or "")
    assert songs.seen == []


@pytest.mark.parametrize("over_bytes", [0, 1])
async def test_the_bound_on_messages_is_exact(over_bytes: int) -> None:
    """A request of just so many bytes is read (and breaks its own rule); one more is not."""
    envelope = 4  # tag and length
    request = upload_pb2.GetUploadRequest(name="x" * (64 * 1024 - envelope + over_bytes))
    assert request.ByteSize() == 64 * 1024 + over_bytes
    settings = ServerSettings(max_message_bytes=64 * 1024, drain_seconds=0.2)
    async with serving(settings=settings) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.ingest.GetUpload(request, timeout=10)
    assert info(raised.value).reason == ("REQUEST_TOO_LARGE" if over_bytes else "REQUEST_INVALID")


async def test_a_message_far_over_the_bound_never_reaches_memory() -> None:
    """gRPC itself turns it away by the length it announces; the connection stands."""
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError, match="message larger than max") as raised:
            await running.stubs.ingest.WriteUpload(chunks(1, 8 * MEBIBYTE), timeout=10)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await running.stubs.call("unary_unary", timeout=5)


async def test_a_call_without_a_deadline_gets_the_services() -> None:
    """It ends DEADLINE_EXCEEDED within 200 ms of it, and the work inside is stopped."""
    stopped: list[float] = []

    async def slow(*_: Any) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(time.monotonic())
            raise

    settings = ServerSettings(default_deadline_seconds=0.3, drain_seconds=0.2)
    async with serving(Songs(before=slow), settings) as running:
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary")
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert info(raised.value).metadata["timeoutSeconds"] == "0.3"
    assert 0.3 <= stopped[0] - started < 0.5


async def test_an_rpc_may_have_a_default_of_its_own() -> None:
    """What is known to take long says so in the app."""

    async def look(*_: Any) -> None:
        left.append(deadline.seconds_left())

    left: list[Any] = []
    deadlines = {"chorale.ingest.v1.IngestService/GetUpload": 900.0}
    async with serving(Songs(before=look), deadlines=deadlines) as running:
        await running.stubs.call("unary_unary")
    assert 899 < left[0] <= 900


@pytest.mark.parametrize("cardinality", CARDINALITIES)
async def test_work_stops_when_the_callers_deadline_passes(cardinality: str) -> None:
    """Nothing goes on for nobody, longer than 200 ms."""
    stopped: list[float] = []

    async def slow(*_: Any) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(time.monotonic())
            raise

    async with serving(Songs(before=slow)) as running:
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call(cardinality, timeout=0.3)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.sleep(0.2)
    assert stopped[0] - started < 0.5


async def test_no_call_lasts_longer_than_the_longest_allowed() -> None:
    """A deadline of a day is cut to the bound of the service."""

    async def slow(*_: Any) -> None:
        await asyncio.sleep(30)

    settings = ServerSettings(max_deadline_seconds=0.3, drain_seconds=0.2)
    async with serving(Songs(before=slow), settings) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("stream_stream", timeout=86_400)
    assert info(raised.value).reason == "DEADLINE_EXCEEDED"


async def test_a_client_that_leaves_stops_the_work() -> None:
    """Cancelling in mid-stream cancels the servicer, whose clean-up runs."""
    stopped = asyncio.Event()

    async def wait(*_: Any) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            stopped.set()

    async with serving(Songs(after=wait)) as running:
        request = reading_pb2.ReadBytesRequest(audio=AUDIO)
        stream = running.stubs.ingest.ReadBytes(request)
        await stream.read()
        stream.cancel()
        async with asyncio.timeout(1):
            await stopped.wait()


async def test_a_client_that_vanishes_is_not_taken_for_one_that_finished() -> None:
    """An upload cut off in the middle never reaches the servicer's code behind the loop."""
    finished: list[bool] = []

    async def finish(*_: Any) -> None:
        finished.append(True)

    async with serving(Songs(after=finish)) as running:
        for _ in range(20):
            call = running.stubs.ingest.WriteUpload()
            await call.write(upload_pb2.WriteUploadRequest(upload=UPLOAD, data=b"x"))
            call.cancel()
        await asyncio.sleep(0.2)
    assert not finished


async def test_a_stray_cancellation_inside_still_answers() -> None:
    """A servicer whose own task was cancelled does not leave its caller waiting."""

    async def stray(*_: Any) -> None:
        task = asyncio.create_task(asyncio.sleep(30))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async with serving(Songs(before=stray)) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary", timeout=5)
    assert raised.value.code() is grpc.StatusCode.CANCELLED
    assert info(raised.value).reason == "OPERATION_CANCELLED"


async def test_calls_over_the_bound_are_refused() -> None:
    """The process holds so many and says so to the next, while health still answers."""
    release = asyncio.Event()

    async def wait(*_: Any) -> None:
        await release.wait()

    settings = ServerSettings(max_concurrent_calls=2, drain_seconds=0.2)
    async with serving(Songs(before=wait), settings) as running:
        held = [asyncio.create_task(running.stubs.call("unary_unary", timeout=5)) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stubs.call("unary_unary", timeout=5)
        release.set()
        await asyncio.gather(*held)
        await running.stubs.call("unary_unary", timeout=5)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(info(raised.value).metadata) == {
        "queue": "calls",
        "limit": "2",
        "retryAfterSeconds": "1.0",
    }


async def test_one_connection_has_so_many_calls_in_flight() -> None:
    """Those beyond the bound wait at the client and are served when one ends: none fails."""
    release, inside = asyncio.Event(), 0

    async def wait(*_: Any) -> None:
        nonlocal inside
        inside += 1
        await release.wait()

    settings = ServerSettings(max_concurrent_streams=2, drain_seconds=0.2)
    async with serving(Songs(before=wait), settings) as running:

        async def ask() -> None:
            while True:
                try:
                    await running.stubs.call("unary_unary", timeout=10)
                    return
                except grpc.aio.AioRpcError as error:
                    # gRPC's guard against rapid resets counts streams until they are freed, a
                    # moment after they ended: it refuses one unseen, which the SDK asks again.
                    if "error code 7" not in (error.details() or ""):
                        raise

        await running.channel.channel_ready()
        held = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.sleep(0.3)
        assert inside == 2
        release.set()
        await asyncio.gather(*held)
    assert inside == 5


async def test_a_method_the_servicer_lacks_is_not_served() -> None:
    """In the contract, but not in this build: UNIMPLEMENTED/NOT_SERVED, in any cardinality."""
    async with serving() as running:
        stub = running.stubs.ingest
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.CancelUpload(upload_pb2.CancelUploadRequest(name=UPLOAD), timeout=5)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        found = info(raised.value)
        assert found.reason == "NOT_SERVED"
        assert found.metadata["method"] == "/chorale.ingest.v1.IngestService/CancelUpload"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ReadFrames(reading_pb2.ReadFramesRequest(audio=AUDIO), timeout=5).read()
        assert info(raised.value).reason == "NOT_SERVED"


@pytest.mark.parametrize(
    "path", ["/chorale.ingest.v1.IngestService/NoSuch", "/no.such.Service/Method", "/x"]
)
async def test_a_method_nobody_knows_is_not_served(path: str) -> None:
    """Unknown methods and services get the same typed answer."""
    async with serving() as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.channel.unary_unary(path)(b"", timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    found = info(raised.value)
    assert (found.reason, found.metadata["method"]) == ("NOT_SERVED", path)


async def test_on_loopback_a_client_may_say_whom_it_acts_for() -> None:
    """In local mode a service of the mesh is believed without proof."""
    seen: list[Any] = []

    async def look(*_: Any) -> None:
        seen.append(caller.current())

    metadata = (("chorale-on-behalf-of", "ada"), ("chorale-on-behalf-of-tier", "free"))
    async with serving(Songs(before=look)) as running:
        await running.stubs.call("unary_unary", metadata=metadata, timeout=5)
    assert seen == [caller.Caller("ada", "free", is_service=True)]


async def test_an_error_after_messages_are_in_flight_is_the_servers_own() -> None:
    """A client still sending when the call fails hears the reason, not a broken stream."""

    async def fail(*_: Any) -> None:
        raise KeyError

    async def endless() -> AsyncIterator[Any]:
        while True:
            yield loudness_pb2.MeterStreamRequest(frames=b"\0" * 8)
            await asyncio.sleep(0.05)

    async with serving(Songs(before=fail)) as running:
        lost = 0
        for _ in range(10):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await running.stubs.mastering.MeterStream(endless(), timeout=5).read()
            if raised.value.details() == "Internal error from Core":
                lost += 1  # grpc.aio's own: the reason came in the instant of a write
                continue
            assert info(raised.value).reason == "INTERNAL"
        assert lost <= 3
