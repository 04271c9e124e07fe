"""What an operation promises its caller, on a real PostgreSQL, replicas in one process."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import operations_work as service
import psycopg
import pytest
from chorale.operations.v1 import operations_service_pb2 as operations_pb
from chorale_runtime import caller, metrics, refusals, traces
from chorale_runtime.operations import (
    OperationNotFound,
    Policy,
    RequestIdReused,
    sweep,
)
from chorale_runtime.operations.paging import Filter
from chorale_runtime.operations.work import Notes
from chorale_runtime.pages import PageTokenInvalid
from chorale_runtime.processes import Processes, QueueFull
from google.longrunning import operations_pb2 as longrunning_pb
from google.rpc import error_details_pb2
from operations_work import Mesh, answer_of, metadata_of, moment, request


@pytest.fixture(autouse=True)
def as_somebody() -> Iterator[None]:
    """Every test is a call of the principal `p1`."""
    with caller.acting(caller.Caller("p1", "free")):
        yield


@pytest.fixture
async def mesh(database_url: str) -> AsyncIterator[Mesh]:
    """One replica, with one worker process."""
    async with (
        Processes.open(count=1) as processes,
        service.serving(database_url, processes) as running,
    ):
        yield running


def _error(operation: Any) -> tuple[int, str, dict[str, str]]:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in operation.error.details), operation
    return operation.error.code, info.reason, dict(info.metadata)


async def test_work_is_done_and_answered(mesh: Mesh) -> None:
    """An operation ends with the answer of its work, and says all there is to say of itself."""
    request_id = str(uuid.uuid4())
    begun = await mesh.start(request("echo", value="la"), request_id, audio=["audio/ab"])
    assert begun.name.startswith("operations/")
    ended = await mesh.wait(begun.name)
    assert ended.done
    assert answer_of(ended) == {"value": "la", "attempt": 1.0, "principal": "p1"}
    told = metadata_of(ended)
    assert (told.method, told.request_id) == (service.METHOD, request_id)
    assert list(told.audio) == ["audio/ab"]
    assert (told.event.stage, told.event.fraction, told.event.attempt) == ("done", 1.0, 1)
    times = [told.create_time, told.start_time, told.end_time, told.expire_time]
    assert [moment(t) for t in times] == sorted(moment(t) for t in times)


async def test_what_is_known_already_ends_at_once(mesh: Mesh) -> None:
    """With its answer an operation is begun and ended in one: found, watched, listed, never run."""
    request_id, known = str(uuid.uuid4()), request("fail", value="la")
    begun = await mesh.start(known, request_id, audio=["audio/ab"], answer=known)
    assert begun.done
    assert answer_of(begun) == answer_of(await mesh.get(begun.name))
    told = await mesh.watch(begun.name)
    assert [m.event.stage for m in told[:-1]] == ["done"]
    again = await mesh.start(known, request_id)
    assert again.name == begun.name
    assert metadata_of(begun).event.attempt == 0


async def test_fifty_calls_with_one_request_id_are_one_operation(mesh: Mesh) -> None:
    """Concurrent duplicates all get the one operation, which runs once."""
    request_id = str(uuid.uuid4())
    asked = request("steps", to=1, pause=0.2)
    begun = await asyncio.gather(*(mesh.start(asked, request_id) for _ in range(50)))
    assert len({operation.name for operation in begun}) == 1
    told = await mesh.watch(begun[0].name)
    assert [m.event.stage for m in told[:-1]] == ["queued", "running", "step 0", "done"]
    again = await mesh.start(asked, request_id)
    assert again.done
    assert again.name == begun[0].name


async def test_a_request_id_stands_for_one_request(mesh: Mesh) -> None:
    """A different request under the same request_id is refused, naming what it stands for."""
    request_id = str(uuid.uuid4())
    begun = await mesh.start(request("echo", value=1), request_id)
    with pytest.raises(RequestIdReused) as caught:
        await mesh.start(request("echo", value=2), request_id)
    assert caught.value.operation == begun.name
    with caller.acting(caller.Caller("p2", "free")):  # what is p1's is nothing to p2
        other = await mesh.start(request("echo", value=2), request_id)
    assert other.name != begun.name


async def test_operations_are_their_owners_alone(mesh: Mesh) -> None:
    """Whoever did not start it cannot see, cancel, delete, list or watch it."""
    begun = await mesh.start(request("sleep", seconds=0.3))
    deleting = longrunning_pb.DeleteOperationRequest(name=begun.name)
    with caller.acting(caller.Caller("p2", "free")):
        for call in (
            mesh.get(begun.name),
            mesh.cancel(begun.name),
            mesh.wait(begun.name),
            mesh.watch(begun.name),
            mesh.longrunning.DeleteOperation(deleting, None),
        ):
            with pytest.raises(OperationNotFound):
                await call
        listed = await mesh.longrunning.ListOperations(longrunning_pb.ListOperationsRequest(), None)
        assert not listed.operations
    assert answer_of(await mesh.wait(begun.name))


NO_NAMES = [
    "",
    "operations/",
    "operations/1",
    "x" * 10_000,
    "operations/" + "g" * 36,
    "OPERATIONS/00000000-0000-0000-0000-000000000000",
    "operations/{00000000-0000-0000-0000-000000000000}",
]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_names_that_name_nothing_are_not_found(mesh: Mesh, name: str) -> None:
    """Whatever is not an operation's name is no operation, and no server error."""
    with pytest.raises(OperationNotFound):
        await mesh.get(name)


async def test_permanent_errors_are_told_at_once(mesh: Mesh) -> None:
    """An error of the table ends the operation with its code, reason and fields, tried once."""
    ended = await mesh.wait((await mesh.start(request("fail"))).name)
    assert _error(ended) == (9, "AUDIO_TOO_SHORT", {"frameCount": "7"})
    assert ended.error.message == "The audio has 7 frames."
    assert metadata_of(ended).event.attempt == 1


async def test_unknown_errors_tell_nothing_of_the_inside(mesh: Mesh) -> None:
    """What no table knows is INTERNAL, opaque, with the trace id of the call that started it."""
    with traces.span("call") as span:
        begun = await mesh.start(request("break"))
    ended = await mesh.wait(begun.name)
    assert _error(ended) == (13, "INTERNAL", {"traceId": span.trace_id})
    assert "secret" not in str(ended)


async def test_temporary_errors_are_tried_again(mesh: Mesh) -> None:
    """A temporary failure leads to another attempt, and its story says so."""
    begun = await mesh.start(request("fail until", attempt=3))
    told = await mesh.watch(begun.name)
    assert answer_of(told[-1].operation)["attempt"] == 3
    stages = [message.event.stage for message in told[:-1]]
    assert stages == ["queued", "running"] * 3 + ["done"]
    assert [m.event.sequence for m in told[:-1]] == [1, 2, 3, 4, 5, 6, 7]


async def test_temporary_errors_are_not_tried_forever(mesh: Mesh) -> None:
    """After the attempts that its policy allows, a temporary error is the end."""
    ended = await mesh.wait((await mesh.start(request("fail until", attempt=9))).name)
    assert _error(ended)[:2] == (14, "DEPENDENCY_UNAVAILABLE")
    assert metadata_of(ended).event.attempt == 3


async def test_a_dead_worker_process_is_replaced(mesh: Mesh) -> None:
    """A crash in the middle of the work costs an attempt, not the operation."""
    ended = await mesh.wait((await mesh.start(request("crash once"))).name)
    assert answer_of(ended)["attempt"] == 2
    ended = await mesh.wait((await mesh.start(request("crash"))).name)
    assert _error(ended)[:2] == (10, "OPERATION_ABANDONED")
    assert _error(ended)[2]["attempts"] == "3"


async def test_cancelling_frees_the_process_within_a_second(mesh: Mesh, tmp_path: Path) -> None:
    """A computation that never pauses is killed, and the operation ended, within a second."""
    path = tmp_path / "pid"
    begun = await mesh.start(request("spin", seconds=60, path=str(path)))
    pid = int(await service.read_when_written(path))
    started = time.perf_counter()
    await mesh.cancel(begun.name)
    ended = await mesh.wait(begun.name)
    assert time.perf_counter() - started < 1.0
    await service.until(lambda: not service.is_alive(pid), 1.0 - (time.perf_counter() - started))
    assert _error(ended) == (1, "OPERATION_CANCELLED", {"operation": begun.name})
    assert metadata_of(ended).cancel_requested
    assert answer_of(await mesh.wait((await mesh.start(request("count", to=3))).name))


async def test_work_that_swallows_its_cancellation_ends_too(mesh: Mesh) -> None:
    """Even work that catches everything is cancelled in its caller's eyes within a second."""
    begun = await mesh.start(request("stubborn", seconds=2))
    await asyncio.sleep(0.2)
    started = time.perf_counter()
    await mesh.cancel(begun.name)
    assert _error(await mesh.wait(begun.name))[1] == "OPERATION_CANCELLED"
    assert time.perf_counter() - started < 1.0


async def test_queued_work_is_cancelled_without_ever_running(database_url: str) -> None:
    """What waits is cancelled at once, and the queue forgets it."""
    async with service.serving(database_url, slots=0) as idle:
        begun = await idle.start(request("echo", value=1))
        await idle.cancel(begun.name)
        ended = await idle.get(begun.name)
        assert ended.done
        assert _error(ended)[1] == "OPERATION_CANCELLED"
        assert metadata_of(ended).event.attempt == 0
        await idle.cancel(begun.name)  # again is fine
    with psycopg.connect(database_url) as connection:
        count = connection.execute("SELECT count(*) FROM test.procrastinate_jobs").fetchone()
    assert count == (0,)


async def test_cancelling_what_has_ended_changes_nothing(mesh: Mesh) -> None:
    """An end is an end."""
    ended = await mesh.wait((await mesh.start(request("echo", value=1))).name)
    await mesh.cancel(ended.name)
    assert await mesh.get(ended.name) == ended


async def test_a_watcher_that_comes_back_misses_nothing(mesh: Mesh) -> None:
    """However often a watcher leaves, the pieces fit: every sequence once, in order."""
    begun = await mesh.start(request("steps", to=12, pause=0.05))
    seen: list[int] = []
    while True:
        asked = operations_pb.WatchOperationRequest(
            name=begun.name, after_sequence=seen[-1] if seen else 0
        )
        stream = mesh.watching.WatchOperation(asked, None)
        ended = False
        for _ in range(3):
            told = await anext(stream)
            if told.WhichOneof("update") == "operation":
                ended = told.operation.done
                break
            seen.append(told.event.sequence)
        await stream.aclose()
        if ended:
            break
    assert seen == list(range(1, len(seen) + 1))
    whole = await mesh.watch(begun.name)
    assert [message.event.sequence for message in whole[:-1]] == seen


async def test_all_watchers_hear_the_same(mesh: Mesh) -> None:
    """Ten watchers, one story."""
    begun = await mesh.start(request("steps", to=5, pause=0.05))
    stories = await asyncio.gather(*(mesh.watch(begun.name) for _ in range(10)))
    assert all(story == stories[0] for story in stories)


async def test_progress_is_told_at_most_ten_times_a_second(mesh: Mesh) -> None:
    """Work that reports in a tight loop is neither slowed down nor told in every detail."""
    begun = await mesh.start(request("count", to=3000))
    told = await mesh.watch(begun.name)
    counting = [m.event for m in told[:-1] if m.event.stage == "counting"]
    took = moment(counting[-1].event_time) - moment(counting[0].event_time)
    assert 1 <= len(counting) <= 3 + 10 * took
    assert counting[-1].fraction == pytest.approx(2999 / 3000)


def test_notes_keep_every_stage_and_the_latest_of_each() -> None:
    """Steps of one stage replace each other; bounds and odd texts do no harm."""
    notes = Notes()
    for number in range(10):
        notes.note("a", number / 10)
    notes.note("b", float("nan"), "x\x00y\ud800" + "z" * 1000)
    notes.note("c" * 100, 7.0)
    taken = notes.take()
    assert [(step.stage[:1], step.fraction) for step in taken] == [("a", 0.9), ("b", 0), ("c", 1)]
    assert len(taken[2].stage) == 64
    assert len(taken[1].message) <= 500
    taken[1].message.encode()
    assert "\x00" not in taken[1].message
    for number in range(1000):
        notes.note(f"s{number}", 0.0)
    assert len(notes.take()) == 64


async def test_waiting_has_a_bound(mesh: Mesh) -> None:
    """Waiting longer than wished for answers how things stand instead."""
    begun = await mesh.start(request("sleep", seconds=0.6))
    started = time.perf_counter()
    assert not (await mesh.wait(begun.name, 0.2)).done
    assert 0.15 < time.perf_counter() - started < 0.45
    assert (await mesh.wait(begun.name, 5)).done


async def test_lists_page_through_everything_once(database_url: str) -> None:
    """Pages of any size give every operation once, the newest first, also while more come."""
    async with service.serving(database_url, slots=0) as mesh:
        names = [(await mesh.start(request("echo", value=n))).name for n in range(23)]
        names.reverse()
        for size in (1, 7, 23, 24, 0, 5000):
            found, token = [], ""
            while True:
                page = await mesh.longrunning.ListOperations(
                    longrunning_pb.ListOperationsRequest(page_size=size, page_token=token), None
                )
                found += [operation.name for operation in page.operations]
                token = page.next_page_token
                if not token:
                    break
            assert found == names, size


async def test_filters_and_tokens_are_checked(mesh: Mesh) -> None:
    """Filters filter; what is no filter, token or size is refused as the caller's mistake."""
    ended = await mesh.wait((await mesh.start(request("echo", value=1))).name)
    running = await mesh.start(request("sleep", seconds=1))

    async def listed(**fields: Any) -> Any:
        return await mesh.longrunning.ListOperations(
            longrunning_pb.ListOperationsRequest(**fields), None
        )

    assert [o.name for o in (await listed(filter="done=true")).operations] == [ended.name]
    assert [o.name for o in (await listed(filter="done = false")).operations] == [running.name]
    both = f'done=true AND method="{service.METHOD}"'
    assert [o.name for o in (await listed(filter=both)).operations] == [ended.name]
    assert not (await listed(filter='method="other"')).operations
    token = (await listed(page_size=1)).next_page_token
    for fields in (
        {"page_token": "nonsense"},
        {"page_token": token[:-4]},
        {"page_token": token, "filter": "done=true"},
    ):
        with pytest.raises(PageTokenInvalid):
            await listed(**fields)
    for fields in ({"page_size": -1}, {"filter": "done=maybe"}, {"filter": "x" * 600},
                   {"filter": 'done=true AND done=true'}, {"name": "projects/x"}):  # fmt: skip
        with pytest.raises(refusals.RequestInvalid):
            await listed(**fields)


def test_filters_are_read_as_written() -> None:
    """Both terms, in any order, or none."""
    assert Filter.parse("") == Filter()
    assert Filter.parse('method="a/b" AND done=false') == Filter(done=False, method="a/b")
    for wrong in ('done="true"', "method=true", "DONE=true", "done=true OR done=false"):
        with pytest.raises(refusals.RequestInvalid):
            Filter.parse(wrong)


async def test_a_full_queue_refuses_new_work_and_knows_old(database_url: str) -> None:
    """Past its limit a queue accepts nothing, says when to come back, and repeats still work."""
    async with service.serving(database_url, slots=0, queue_limit=3) as mesh:
        ids = [str(uuid.uuid4()) for _ in range(3)]
        begun = [await mesh.start(request("echo", value=i), i) for i in ids]
        with pytest.raises(QueueFull) as caught:
            await mesh.start(request("echo", value="more"))
        assert (caught.value.queue, caught.value.limit) == ("test.cpu", 3)
        again = await mesh.start(request("echo", value=ids[0]), ids[0])
        assert again.name == begun[0].name
        await mesh.cancel(begun[0].name)
        await mesh.start(request("echo", value="more"))


async def test_higher_priorities_run_first(database_url: str) -> None:
    """Of what waits, the highest priority goes first; among equals, the oldest."""
    async with service.serving(database_url, slots=0) as idle:
        begun = {
            (priority, index): (
                await idle.start(request("echo", value=index), priority=priority)
            ).name
            for index, priority in enumerate([0, 5, -1, 5, 9])
        }
    async with service.serving(database_url, slots=1) as mesh:
        ended = {key: await mesh.wait(name) for key, name in begun.items()}
    order = sorted(ended, key=lambda key: moment(metadata_of(ended[key]).start_time))
    assert order == [(9, 4), (5, 1), (5, 3), (0, 0), (-1, 2)]


async def test_an_attempt_has_a_time_limit(database_url: str) -> None:
    """Work that takes longer than its timeout is ended with the number."""
    async with service.serving(database_url, works=service.work(timeout_seconds=0.3)) as mesh:
        ended = await mesh.wait((await mesh.start(request("sleep", seconds=30))).name)
    assert _error(ended) == (4, "DEADLINE_EXCEEDED", {"timeoutSeconds": "0.3"})


async def test_results_are_forgotten_in_time(database_url: str) -> None:
    """When its time is over an operation is gone, and the service is told before."""
    policy = Policy(retention_seconds=0.3, expiry_seconds=0.1)
    async with service.serving(database_url, policy=policy) as mesh:
        name = (await mesh.start(request("echo", value=1))).name
        assert (await mesh.wait(name)).done
        await asyncio.sleep(0.8)
        with pytest.raises(OperationNotFound):
            await mesh.get(name)
        assert mesh.purged == [name]


async def test_deleting_forgets_and_does_not_stop(mesh: Mesh) -> None:
    """A deleted operation is gone for its owner, whose request_id is free again."""
    request_id, asked = str(uuid.uuid4()), request("sleep", seconds=0.3)
    for delay in (0, 0.6):
        begun = await mesh.start(asked, request_id)
        await asyncio.sleep(delay)
        await mesh.longrunning.DeleteOperation(
            longrunning_pb.DeleteOperationRequest(name=begun.name), None
        )
        with pytest.raises(OperationNotFound):
            await mesh.get(begun.name)


async def test_deleting_audio_ends_the_work_about_it(mesh: Mesh) -> None:
    """Operations about an audio are cancelled and forgotten with it, others are not."""
    about = await mesh.start(request("sleep", seconds=30), audio=["audio/a", "audio/b"])
    other = await mesh.start(request("sleep", seconds=0.2), audio=["audio/b"])
    assert await mesh.operations.forget_audio("audio/a") == 1
    with pytest.raises(OperationNotFound):
        await mesh.get(about.name)
    assert (await mesh.wait(other.name)).done


async def test_the_trace_goes_through_the_queue(database_url: str) -> None:
    """The job runs in the trace of the call that started it."""
    seen: list[str] = []
    plain = service.work()

    async def look(job: Any) -> Any:
        seen.append(traces.trace_id())
        return await plain.run(job)

    async with service.serving(database_url, works=service.work(run=look)) as mesh:
        with traces.span("call") as span:
            begun = await mesh.start(request("echo", value=1))
        await mesh.wait(begun.name)
    assert seen == [span.trace_id]


def _metrics() -> str:
    return metrics.exposition().decode()


async def test_queues_and_attempts_are_measured(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prometheus is told what waits and how attempts ended."""
    monkeypatch.setattr(sweep, "MEASURE_SECONDS", 0.1)
    async with service.serving(database_url, slots=0) as idle:
        await idle.start(request("echo", value=1))
        await asyncio.sleep(0.5)
    assert 'chorale_test_operations_waiting_count{queue="test.cpu"} 1.0' in _metrics()
    async with service.serving(database_url) as mesh:
        for _ in range(2):
            await mesh.wait((await mesh.start(request("echo", value=1))).name)
    told = _metrics()
    labels = f'ending="succeeded",method="{service.METHOD}"'
    assert f"chorale_test_operations_attempts_total{{{labels}}}" in told
    assert 'chorale_test_operations_running_count{queue="test.cpu"} 0.0' in told


async def test_shutting_down_hands_work_back(database_url: str) -> None:
    """What a leaving server runs is begun again by another at once, and is no failure."""
    async with service.serving(database_url, slots=0) as other:
        async with service.serving(database_url) as leaving:
            begun = await leaving.start(request("sleep", seconds=30))
            await asyncio.sleep(0.3)
            assert metadata_of(await other.get(begun.name)).event.attempt == 1
        standing = await other.get(begun.name)
        assert not standing.done
        assert metadata_of(standing).event.stage == "queued"
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT j.status::text, o.state, o.failures FROM test.procrastinate_jobs j"
            " JOIN test.operations o ON o.job_id = j.id"
        ).fetchall()
    assert rows == [("todo", "queued", 0)]


async def test_any_replica_cancels_what_another_runs(database_url: str) -> None:
    """Cancelling reaches the replica that runs it, within a second."""
    async with (
        service.serving(database_url, slots=0) as front,
        service.serving(database_url) as back,
    ):
        begun = await front.start(request("sleep", seconds=30))
        await asyncio.sleep(0.3)
        assert metadata_of(await back.get(begun.name)).event.attempt == 1
        started = time.perf_counter()
        await front.cancel(begun.name)
        assert _error(await front.wait(begun.name))[1] == "OPERATION_CANCELLED"
        assert time.perf_counter() - started < 1.0


async def test_the_database_itself_keeps_ends(mesh: Mesh, database_url: str) -> None:
    """Not even a statement by hand makes an ended operation anything else."""
    await mesh.wait((await mesh.start(request("echo", value=1))).name)
    with (
        psycopg.connect(database_url) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="has ended as succeeded"),
    ):
        connection.execute("UPDATE test.operations SET state = 'queued'")
