"""Long work can be awaited, followed, left, found again and cancelled, whatever breaks."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from chorale.mastering.v1.loudness_pb2 import MeasureLoudnessRequest, MeasureLoudnessResponse
from chorale_client import (
    AsyncChorale,
    AsyncOperation,
    CancelledError,
    DeadlineError,
    NotFoundError,
    NotServedError,
    PreconditionError,
    QuotaError,
)
from cutting_proxy import CuttingProxy
from google.protobuf.message import Message
from google.rpc import code_pb2
from loopback import PATIENCE, Served, serving
from memory_ingest import status
from memory_mastering import MemoryMastering

AUDIO = f"audio/{'0' * 64}"
REQUEST = MeasureLoudnessRequest(audio=AUDIO)


@pytest.fixture
async def mastering() -> AsyncIterator[tuple[MemoryMastering, int]]:
    """A memory mastering on a real socket, and its port."""
    memory = MemoryMastering()
    async with serving(memory.add_to) as port:
        yield memory, port


def client(port: int) -> AsyncChorale:
    """A client that knows mastering only."""
    return AsyncChorale(addresses={"mastering": f"127.0.0.1:{port}"}, patience=PATIENCE)


async def begin(chorale: AsyncChorale) -> AsyncOperation[MeasureLoudnessResponse]:
    """Starts a piece of work."""
    return await chorale.start(chorale.mastering.MeasureLoudness, REQUEST, MeasureLoudnessResponse)


async def test_an_operation_can_be_awaited(mastering: tuple[MemoryMastering, int]) -> None:
    """`await operation` is the typed answer."""
    async with client(mastering[1]) as chorale:
        operation = await begin(chorale)
        answer = await operation
    assert (answer.audio, answer.loudness.integrated_lufs) == (AUDIO, -14.0)
    assert operation.done


async def test_the_answer_names_its_own_type(mastering: tuple[MemoryMastering, int]) -> None:
    """Without an expected type the operation's own is taken."""
    async with client(mastering[1]) as chorale:
        operation: AsyncOperation[Message] = await chorale.start(
            chorale.mastering.MeasureLoudness, REQUEST
        )
        assert isinstance(await operation, MeasureLoudnessResponse)


async def test_events_come_once_and_in_order(mastering: tuple[MemoryMastering, int]) -> None:
    """Progress is told from the first event to the last; a second loop adds nothing."""
    async with client(mastering[1]) as chorale:
        operation = await begin(chorale)
        assert [event.sequence async for event in operation.events()] == [1, 2, 3, 4, 5]
        assert [event.sequence async for event in operation.events()] == []
        again = [event.sequence async for event in operation.events(after_sequence=2)]
        assert again == [3, 4, 5]


@pytest.mark.parametrize("seed", range(3))
async def test_a_broken_watch_is_rejoined(
    mastering: tuple[MemoryMastering, int], seed: int
) -> None:
    """Thirty cuts: every event is still seen exactly once, and then the answer."""
    memory, port = mastering
    memory.steps, memory.step_seconds = 150, 0.01
    async with (
        CuttingProxy(port, seed, cuts=30, bytes_mean=900) as proxy,
        client(proxy.port) as chorale,
    ):
        operation = await begin(chorale)
        seen = [event.sequence async for event in operation.events()]
        assert seen == list(range(1, 151))
        assert (await operation).audio == AUDIO
    assert memory.watches > 3


async def test_an_operation_is_found_again_by_name(mastering: tuple[MemoryMastering, int]) -> None:
    """Another client, without the service's name, finds it and its answer."""
    async with client(mastering[1]) as first, client(mastering[1]) as second:
        name = (await begin(first)).name
        found = await second.operations.get(name)
        assert (found.service, list(found.metadata.audio)) == ("mastering", [AUDIO])
        assert isinstance(await found, MeasureLoudnessResponse)


async def test_an_unknown_operation_is_not_found(mastering: tuple[MemoryMastering, int]) -> None:
    """A name that nobody knows is NotFoundError."""
    async with client(mastering[1]) as chorale:
        with pytest.raises(NotFoundError) as caught:
            await chorale.operations.get("operations/00000000-0000-0000-0000-000000000000")
    assert caught.value.reason == "OPERATION_NOT_FOUND"


async def test_cancelling_ends_the_wait(mastering: tuple[MemoryMastering, int]) -> None:
    """Who waits for a cancelled operation is told CancelledError."""
    mastering[0].steps, mastering[0].step_seconds = 1000, 0.1
    async with client(mastering[1]) as chorale:
        operation = await begin(chorale)
        waiting = asyncio.create_task(operation.result())
        await asyncio.sleep(0.1)
        await operation.cancel()
        with pytest.raises(CancelledError) as caught:
            await asyncio.wait_for(waiting, 5)
    assert caught.value.reason == "OPERATION_CANCELLED"


async def test_a_failed_operation_raises_its_error(mastering: tuple[MemoryMastering, int]) -> None:
    """`Operation.error` is the same exception as that of a call."""
    mastering[0].failure = status(code_pb2.FAILED_PRECONDITION, "AUDIO_SILENT", audio=AUDIO)
    async with client(mastering[1]) as chorale:
        with pytest.raises(PreconditionError) as caught:
            await (await begin(chorale))
    assert caught.value.metadata == {"audio": AUDIO}


async def test_waiting_too_long_is_a_deadline_error(mastering: tuple[MemoryMastering, int]) -> None:
    """The wait ends, the operation goes on."""
    mastering[0].steps, mastering[0].step_seconds = 1000, 0.1
    async with client(mastering[1]) as chorale:
        operation = await begin(chorale)
        with pytest.raises(DeadlineError):
            await operation.result(timeout_seconds=0.3)
        assert not (await operation.refresh()).done
        await operation.cancel()


async def test_one_request_id_serves_all_attempts(mastering: tuple[MemoryMastering, int]) -> None:
    """A start that is tried again is the same request, so that nothing is started twice."""
    memory, port = mastering
    memory.refusals = [
        status(code_pb2.UNAVAILABLE, "NOT_READY", retry_seconds=0.05, state="starting")
    ] * 7
    async with client(port) as chorale:
        await (await begin(chorale))
        await (await begin(chorale))
    assert len(memory.request_ids) == 9
    assert len(set(memory.request_ids)) == 2
    assert len(memory.works) == 2


async def test_a_full_queue_is_the_callers_to_decide(
    mastering: tuple[MemoryMastering, int],
) -> None:
    """QUEUE_FULL is raised with the delay after which trying again makes sense."""
    mastering[0].refusals = [status(code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry_seconds=2.5)]
    async with client(mastering[1]) as chorale:
        with pytest.raises(QuotaError) as caught:
            await begin(chorale)
    assert caught.value.retry_after_seconds == 2.5


async def test_lists_turn_the_pages(mastering: tuple[MemoryMastering, int]) -> None:
    """Every operation is listed once, however small the pages."""
    async with client(mastering[1]) as chorale:
        begun = [(await begin(chorale)).name for _ in range(5)]
        assert [operation.name async for operation in chorale.operations.list()] == begun[::-1]
        await chorale.operations.delete(begun[0])
        assert len([one async for one in chorale.operations.list("mastering")]) == 4


async def test_a_service_without_watch_is_asked_now_and_then(
    mastering: tuple[MemoryMastering, int],
) -> None:
    """Where WatchOperation is not served, waiting still works."""
    mastering[0].can_watch = False
    async with client(mastering[1]) as chorale:
        assert (await (await begin(chorale))).audio == AUDIO


async def test_a_service_without_long_work_does_not_hide_the_others(
    served: Served, mastering: tuple[MemoryMastering, int]
) -> None:
    """Asked for all operations, what does not serve any is passed over; asked alone, it says so."""
    both = {"ingest": served.address, "mastering": f"127.0.0.1:{mastering[1]}"}
    async with AsyncChorale(addresses=both, patience=PATIENCE) as chorale:
        name = (await begin(chorale)).name
        assert [operation.name async for operation in chorale.operations.list()] == [name]
        assert (await chorale.operations.get(name)).service == "mastering"
        with pytest.raises(NotServedError):
            _ = [one async for one in chorale.operations.list("ingest")]
