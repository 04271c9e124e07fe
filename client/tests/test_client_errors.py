"""Every failure is a ChoraleError that says what the caller should do; no gRPC error leaks."""

import asyncio
import inspect
import pickle
import re
from pathlib import Path

import grpc
import pytest
from chorale.errors.v1 import error_reason_pb2
from chorale.errors.v1.error_reason_pb2 import ErrorReason
from chorale.ingest.v1.audio_pb2 import GetAudioRequest
from chorale.ingest.v1.reading_pb2 import ReadBytesRequest
from chorale.ingest.v1.upload_pb2 import StartUploadRequest, WriteUploadRequest
from chorale.ingest.v1.usage_pb2 import GetUsageRequest
from chorale_client import (
    AsyncChorale,
    ChoraleError,
    DeadlineError,
    MeshNotFoundError,
    NotServedError,
    Patience,
    PreconditionError,
    QuotaError,
    RequestError,
    ServerError,
    UnavailableError,
    errors,
)
from chorale_client.errors import ERRORS_BY_CODE
from client_songs import song
from google.protobuf import descriptor_pb2
from google.rpc import code_pb2, error_details_pb2
from loopback import PATIENCE, Served, serving
from memory_ingest import MemoryIngest, abort, status

AUDIO = f"audio/{'0' * 64}"
FAILING = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def test_every_code_has_an_error() -> None:
    """The table is whole: whatever gRPC can say has a class."""
    assert set(ERRORS_BY_CODE) == {code.name for code in FAILING}


def test_the_docstring_draws_the_whole_tree() -> None:
    """Each class is drawn where its base says, and nothing else is drawn."""
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, ChoraleError)
    }
    drawn = re.findall(r"^ {4}(.*?)(\w+Error)\b", errors.__doc__ or "", flags=re.MULTILINE)
    assert {name for _, name in drawn} == set(classes)
    for indent, name in drawn:
        depth = len(indent) // 4
        assert len(classes[name].__mro__) - len(ChoraleError.__mro__) >= depth


@pytest.mark.parametrize("code", FAILING, ids=lambda code: code.name)
async def test_each_code_becomes_its_error(
    chorale: AsyncChorale, served: Served, code: grpc.StatusCode
) -> None:
    """Class, code, reason, domain and metadata arrive, for a unary call and for a stream."""
    failure = status(code.value[0], "SOME_REASON", "Something was found.", sizeBytes=7)
    served.ingest.failures.extend([failure] * 100)  # UNAVAILABLE is tried again
    for call in (chorale.info(AUDIO), _drain(chorale)):
        with pytest.raises(ERRORS_BY_CODE[code.name]) as caught:
            await call
        error = caught.value
        assert isinstance(error, ChoraleError)
        assert (error.code, error.reason, error.domain, error.message, error.metadata) == (
            code.name, "SOME_REASON", "ingest.chorale", "Something was found.", {"sizeBytes": "7"}
        )  # fmt: skip
        assert not isinstance(error, grpc.RpcError)


async def _drain(chorale: AsyncChorale) -> None:
    async for _ in chorale.ingest.ReadBytes(ReadBytesRequest(audio=AUDIO)):
        pass


async def test_every_reason_of_the_catalogue_arrives_under_its_code(
    chorale: AsyncChorale, served: Served
) -> None:
    """Each ErrorReason reaches the caller as the class of the code that its comment names."""
    catalogue = reasons_with_codes()
    assert set(catalogue) == {
        value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values[1:]
    }
    for reason, code in catalogue.items():
        failure = status(code_pb2.Code.Value(code), reason)
        served.ingest.failures.extend([failure] * 4)  # gRPC itself tries UNAVAILABLE four times
        with pytest.raises(ERRORS_BY_CODE[code]) as caught:
            await _drain(chorale)
        assert caught.value.reason == reason
        served.ingest.failures.clear()


def reasons_with_codes() -> dict[str, str]:
    """Every reason of the catalogue with its code, as error_reason.proto says in its comments."""
    image = Path(error_reason_pb2.__file__).parents[3] / "chorale.binpb"
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    source = next(file for file in files.file if file.name.endswith("error_reason.proto"))
    comments = {
        tuple(place.path): place.leading_comments for place in source.source_code_info.location
    }
    found = {}
    for number, value in enumerate(source.enum_type[0].value):
        code = re.search(r"`([A-Z_]+)`[.,]", comments[5, 0, 2, number])
        if code:
            found[value.name.removeprefix("ERROR_REASON_")] = code[1]
    return found


async def test_details_say_what_to_do(chorale: AsyncChorale, served: Served) -> None:
    """BadRequest, PreconditionFailure and RetryInfo become violations, missing and a delay."""
    shape = status(code_pb2.INVALID_ARGUMENT, "REQUEST_INVALID", "The request is invalid.")
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="name", description="must match ^audio/")
    shape.details.add().Pack(bad)
    needs = status(
        code_pb2.FAILED_PRECONDITION, "WEIGHTS_MISSING", remedy="chorale models import x"
    )
    lacking = error_details_pb2.PreconditionFailure()
    lacking.violations.add(type="MISSING", subject="models/btc-sl/1")
    needs.details.add().Pack(lacking)
    served.ingest.failures.extend(
        [shape, needs, status(code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED", retry_seconds=3599.5)]
    )
    with pytest.raises(RequestError) as request:
        await chorale.info(AUDIO)
    assert str(request.value) == "The request is invalid.\n  name: must match ^audio/"
    with pytest.raises(PreconditionError) as precondition:
        await chorale.info(AUDIO)
    assert precondition.value.missing == ("models/btc-sl/1",)
    assert precondition.value.remedy == "chorale models import x"
    with pytest.raises(QuotaError) as quota:
        await chorale.info(AUDIO)
    assert quota.value.retry_after_seconds == 3599.5


async def test_damaged_details_do_not_hide_the_failure(
    chorale: AsyncChorale, served: Served
) -> None:
    """A detail that cannot be read is left out; the code still counts."""
    broken = status(code_pb2.NOT_FOUND, "AUDIO_NOT_FOUND")
    broken.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff\xff")
    served.ingest.failures.append(broken)
    with pytest.raises(errors.NotFoundError) as caught:
        await chorale.info(AUDIO)
    assert caught.value.reason == "AUDIO_NOT_FOUND"


@pytest.mark.parametrize(
    ("server_takes_bytes", "name_bytes", "reason", "limit_bytes", "remedy"),
    [
        (64 << 20, 2 << 20, "REQUEST_TOO_LARGE", (1 << 20) + 65536, "chunks of at most 1 MiB"),
        (1 << 16, 1 << 20, "REQUEST_TOO_LARGE", 1 << 16, "chunks of at most 1 MiB"),
        (64 << 20, 10, "ANSWER_TOO_LARGE", 16 << 20, "Ask for less at once"),
    ],
    ids=["own bound", "server's bound", "answer"],
)
async def test_what_grpc_itself_refuses_for_its_size_says_what_to_do(
    server_takes_bytes: int, name_bytes: int, reason: str, limit_bytes: int, remedy: str
) -> None:
    """Its bare RESOURCE_EXHAUSTED becomes a QuotaError with both sizes, never tried again."""
    calls = []

    async def answer_much(request: bytes, _: object) -> bytes:
        calls.append(len(request))
        return bytes(17 << 20)

    def add(server: grpc.aio.Server) -> None:
        much = grpc.unary_unary_rpc_method_handler(answer_much)
        service = "chorale.ingest.v1.IngestService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"GetAudio": much}),)
        )

    async with (
        serving(add, receive_bytes=server_takes_bytes) as port,
        AsyncChorale(f"127.0.0.1:{port}", patience=PATIENCE) as chorale,
    ):
        with pytest.raises(QuotaError) as caught:
            await chorale.ingest.GetAudio(GetAudioRequest(name="x" * name_bytes))
    error = caught.value
    assert (error.reason, error.retry_after_seconds) == (reason, None)
    assert error.metadata["limitBytes"] == str(limit_bytes)
    assert int(error.metadata["foundBytes"]) > limit_bytes
    assert remedy in error.message
    assert remedy in error.remedy
    assert len(calls) <= 1


async def test_the_servers_word_survives_a_stream_that_is_being_written(served: Served) -> None:
    """The reason why a server ends an upload reaches its writer, every time.

    grpc.aio's own `write` replaces it in more than half of the cases by an internal error.
    """

    async def refuse(stored: object, request: object, context: object) -> None:
        await abort(context, status(code_pb2.RESOURCE_EXHAUSTED, "STORAGE_FULL"))

    served.ingest._take = refuse  # type: ignore[method-assign,assignment]
    chunk = bytes(1 << 20)
    async with AsyncChorale(served.address, patience=PATIENCE) as chorale:
        begun = await chorale.ingest.StartUpload(StartUploadRequest(size_bytes=1 << 30))
        for _ in range(50):
            stream = await chorale.ingest.WriteUpload.open(timeout=20)
            while await stream.write(WriteUploadRequest(upload=begun.upload.name, data=chunk)):
                pass
            with pytest.raises(QuotaError) as caught:
                await stream.answer()
            assert caught.value.reason == "STORAGE_FULL"


async def test_nothing_listening_is_said_soon_and_with_the_address() -> None:
    """An address where nobody answers is MeshNotFoundError after `connect_seconds`."""
    async with AsyncChorale("127.0.0.1:1", patience=Patience(connect_seconds=0.3)) as chorale:
        with pytest.raises(
            MeshNotFoundError, match=r"127\.0\.0\.1:1 .*refused.*chorale up"
        ) as caught:
            await chorale.info(AUDIO)
    assert caught.value.reason == "MESH_UNREACHABLE"


async def test_a_port_of_something_else_is_unavailable() -> None:
    """A server that does not speak gRPC is no reason for a foreign exception."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    patience = Patience(connect_seconds=0.5, retry_seconds=0.5)
    async with server, AsyncChorale(f"127.0.0.1:{port}", patience=patience) as chorale:
        with pytest.raises(UnavailableError):
            await chorale.info(AUDIO)
    await asyncio.sleep(0.05)


async def test_a_service_that_is_not_there_is_not_served(chorale: AsyncChorale) -> None:
    """A call that the server does not have is NotServedError."""
    with pytest.raises(NotServedError):
        await chorale.engines("analysis")


async def test_a_silent_server_is_a_deadline_error(served: Served, chorale: AsyncChorale) -> None:
    """The time allowed is the time waited; the error is a TimeoutError too."""

    async def sleep(request: object, context: object) -> None:
        await asyncio.sleep(30)

    served.ingest.GetUsage = sleep  # type: ignore[method-assign,assignment]
    async with serving(served.ingest.add_to) as port, AsyncChorale(f"127.0.0.1:{port}") as client:
        with pytest.raises(TimeoutError) as caught:
            await client.ingest.GetUsage(GetUsageRequest(), timeout=0.2)
    assert isinstance(caught.value, DeadlineError)
    assert caught.value.reason == "DEADLINE_EXCEEDED"


async def test_a_service_that_starts_is_waited_for(served: Served, chorale: AsyncChorale) -> None:
    """NOT_READY is tried again after its delay, within the patience of the call."""
    not_ready = status(code_pb2.UNAVAILABLE, "NOT_READY", retry_seconds=0.05)
    served.ingest.failures.extend([not_ready] * 8)
    assert (await chorale.usage()).principal == "local"


async def test_a_server_lost_for_good_is_unavailable() -> None:
    """When a server that answered once does not come back, the caller is told so in time."""
    ingest = MemoryIngest()
    patience = Patience(retry_seconds=0.5)
    async with serving(ingest.add_to) as port:
        chorale = AsyncChorale(f"127.0.0.1:{port}", patience=patience)
        await chorale.usage()
    with pytest.raises(UnavailableError):
        await chorale.ingest.GetAudio(GetAudioRequest(name=AUDIO), timeout=1)
    await chorale.close()


async def test_cancelling_the_caller_is_not_an_error_of_the_mesh(
    served: Served, chorale: AsyncChorale
) -> None:
    """A task that its own program cancels ends with asyncio's CancelledError."""
    served.ingest.chunk_seconds = 10
    audio = await chorale.put(song(1))
    reading = asyncio.create_task(_read_all(chorale, audio.name))
    await asyncio.sleep(0.2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def _read_all(chorale: AsyncChorale, name: str) -> None:
    async for _ in chorale.read_frames(name, None, chunk_bytes=8192):
        pass


async def test_an_error_can_be_pickled() -> None:
    """It crosses to another process with everything it says."""
    error = QuotaError(
        "Too much.", reason="RATE_LIMITED", retry_after_seconds=2.0, metadata={"a": "b"}
    )
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (QuotaError, vars(error), str(error))


async def test_an_unknown_service_is_a_request_error(chorale: AsyncChorale) -> None:
    """A service that the mesh does not have is named, with those it has."""
    with pytest.raises(RequestError, match="ingest, analysis"):
        await chorale.engines("radio")


async def test_an_internal_error_says_the_trace(chorale: AsyncChorale, served: Served) -> None:
    """What to report is in the error: the server's trace id, else the one that was sent."""
    served.ingest.failures.append(status(code_pb2.INTERNAL, "INTERNAL", traceId="ab" * 16))
    with pytest.raises(ServerError) as caught:
        await chorale.info(AUDIO)
    assert caught.value.trace_id == "ab" * 16
    with pytest.raises(errors.NotFoundError) as missing:
        await chorale.info(AUDIO)
    assert missing.value.trace_id == served.ingest.metadata[-1]["traceparent"].split("-")[1]
