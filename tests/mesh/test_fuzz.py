"""Random requests, valid and broken, to every RPC of the running mesh: no INTERNAL, ever.

`make test` sends some hundreds to each RPC; `make fuzz` sends 10,000.
"""

import asyncio
import importlib
import io
from collections.abc import AsyncIterator, Sequence
from typing import cast

import grpc
import numpy as np
import pytest
import soundfile
from chorale_client import Chorale
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_requests import RequestMaker
from running_mesh import RunningMesh

SERVICES = ("ingest", "analysis", "fingerprint", "mastering", "generation")
SHARED = ("google.longrunning.operations_pb2", "chorale.operations.v1.operations_service_pb2")
# So many requests are one batch, and so many of it are on their way at once.
BATCH_MAX, IN_FLIGHT = 500, 64
# A stream that waits for news ends here: long enough to be served, short enough to fuzz.
NEWS_SECONDS, CALL_SECONDS = 0.25, 20.0
# After a message a refusal of it arrives before the next is written, or else grpc.aio drops it. Who
# got no answer in the crowd asks again alone, with more patience.
WRITE_PAUSES_SECONDS = (0.05, 0.5)


def _methods() -> list[tuple[str, MethodDescriptor]]:
    found: list[tuple[str, ServiceDescriptor]] = []
    for service in SERVICES:
        module = importlib.import_module(f"chorale.{service}.v1.{service}_service_pb2")
        found += [(service, one) for one in module.DESCRIPTOR.services_by_name.values()]
    for name in SHARED:
        module = importlib.import_module(name)
        found += [("mastering", one) for one in module.DESCRIPTOR.services_by_name.values()]
    return [(service, method) for service, one in found for method in one.methods]


METHODS = _methods()


@pytest.fixture(scope="session")
def known(chorale: Chorale) -> list[str]:
    """Names that exist: a short audio, and whatever was made of it."""
    file = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)
    soundfile.write(file, tone, 22050, format="WAV")
    audio = chorale.put(file.getvalue(), file_name="tone.wav")
    operations = [operation.name for operation in chorale.operations.list("mastering")]
    return [audio.name, *operations]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "method"), METHODS, ids=[f"{service}.{m.name}" for service, m in METHODS]
)
def test_no_request_is_answered_by_an_internal_error(
    mesh: RunningMesh, known: list[str], service: str, method: MethodDescriptor, fuzz_count: int
) -> None:
    """Whatever is sent, the answer is an answer or an error with a name."""
    if service not in mesh.record()["services"]:
        pytest.skip(f"NOT FUZZED: {service} is not set up")
    maker, size = RequestMaker(known), min(max(1, fuzz_count // 2), BATCH_MAX)

    @settings(
        max_examples=fuzz_count // size,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a seed needs no shrinking
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**48))
    def batch(seed: int) -> None:
        seeds = range(seed * size, (seed + 1) * size)
        asyncio.run(_send_batch(mesh.address(service), method, maker, seeds))

    batch()


@pytest.mark.slow
def test_no_service_logged_an_error(mesh: RunningMesh) -> None:
    """What no caller saw is in no log either. (Runs after all the requests: file order.)"""
    errors = [
        f"{log.name}: {line[:1000]}"
        for log in sorted((mesh.state / "services").glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if '"level": "error"' in line or '"level":"error"' in line
    ]
    assert not errors, f"{len(errors)} errors, such as {errors[0]}"


async def _send_batch(
    address: str, method: MethodDescriptor, maker: RequestMaker, seeds: Sequence[int]
) -> None:
    """Sends a request of each seed, and judges the answer to each."""
    room = asyncio.Semaphore(BATCH_MAX if _waits(method) else IN_FLIGHT)
    in_crowd, alone = WRITE_PAUSES_SECONDS

    async def send(seed: int) -> bool:
        async with room:
            return await _is_answered(channel, method, maker, seed, in_crowd)

    async with grpc.aio.insecure_channel(address) as channel:
        answered = await asyncio.gather(*map(send, seeds))
        for seed in (seed for seed, is_well in zip(seeds, answered, strict=True) if not is_well):
            is_well = await _is_answered(channel, method, maker, seed, alone)
            assert is_well, f"{method.full_name} seed {seed} is not answered"


async def _is_answered(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    maker: RequestMaker,
    seed: int,
    pause_seconds: float,
) -> bool:
    """Whether there was an answer; fails at one that should not be."""
    count = seed % 4 if method.client_streaming else 1
    requests = [maker.make(method.input_type, seed + index) for index in range(count)]
    try:
        await _call(channel, method, requests, pause_seconds)
    except grpc.aio.AioRpcError as error:
        return _judge(error, method, seed, requests)
    except asyncio.CancelledError:
        # grpc.aio gives a stream up that ends while it is written to. Nobody cancelled us.
        assert method.client_streaming, f"{method.full_name} seed {seed} was cancelled"
        return False
    return True


def _waits(method: MethodDescriptor) -> bool:
    """Whether the call may go on for ever, waiting for news."""
    return bool(method.server_streaming and not method.client_streaming)


async def _call(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    requests: Sequence[Message],
    pause_seconds: float,
) -> None:
    shape = "_".join(
        "stream" if streams else "unary"
        for streams in (method.client_streaming, method.server_streaming)
    )
    service = method.containing_service
    assert service is not None
    multi_callable = getattr(channel, shape)(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    given_requests = _stream(requests, pause_seconds) if method.client_streaming else requests[0]
    call = multi_callable(given_requests, timeout=NEWS_SECONDS if _waits(method) else CALL_SECONDS)
    if not method.server_streaming:
        await call
        return
    async for _ in call:
        pass


async def _stream(requests: Sequence[Message], pause_seconds: float) -> AsyncIterator[Message]:
    for request in requests:
        yield request
        await asyncio.sleep(pause_seconds)


def _judge(
    error: grpc.aio.AioRpcError, method: MethodDescriptor, seed: int, requests: Sequence[Message]
) -> bool:
    """Fails at an error without a name; whether the error is the server's answer."""
    code = error.code()
    if method.client_streaming and error.details() == "Internal error from Core":
        return False  # grpc.aio's own word for a stream that ended while it wrote
    if _waits(method) and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return True  # ours: the stream's time was up
    told = f"{method.full_name} seed {seed}: {code} {error.details()}\n{requests}"
    assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), told
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None, f"no details: {told}"
    info = error_details_pb2.ErrorInfo()
    assert any(one.Unpack(info) for one in status.details), f"no ErrorInfo: {told}"
    return True
