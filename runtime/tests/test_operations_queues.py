"""Work for devices waits in a queue of its own, and loses nothing while nobody works on it."""

import signal
from pathlib import Path

import operations_work as service
import psycopg
import pytest
from chorale_runtime.operations import Queues
from test_operations_laws import Caller, Replica

FRONT = {"CHORALE_DEVICE_WORKS": "Start", "CHORALE_WORK_QUEUES": "!*.cuda"}
POOL = {"CHORALE_DEVICE_WORKS": "Start", "CHORALE_WORK_QUEUES": "*.cuda"}


@pytest.mark.parametrize(
    ("worked_on", "queue", "is_mine"),
    [
        ((), "generation.cuda", True),
        (("*.cuda",), "generation.cuda", True),
        (("*.cuda",), "generation.cpu", False),
        (("!*.cuda",), "generation.cpu", True),
        (("!*.cuda",), "generation.cuda", False),
        (("generation.*", "!*.training"), "generation.training", False),
    ],
    ids=["all", "named", "not-named", "others", "left", "both"],
)
def test_a_process_works_on_the_queues_it_is_told(
    worked_on: tuple[str, ...], queue: str, is_mine: bool
) -> None:
    """Patterns name queues; those with a `!` are left to others."""
    assert Queues(worked_on=worked_on).is_worked_on(queue) is is_mine


def test_work_for_devices_waits_apart() -> None:
    """`test.cuda` for whatever a pattern names; all else stays where it is."""
    work = service.work()
    assert Queues().routed(work) == work
    assert Queues(["Train*"]).routed(work) == work
    assert Queues(["Train*", "St*"]).routed(work) == service.work(queue="test.cuda")
    # Whatever was given to devices before is still found.
    assert Queues().every([work], {"test.cpu": 3}) == {"test.cpu": 3, "test.cuda": 3}


@pytest.mark.slow
async def test_a_pool_at_zero_loses_nothing(database_url: str, tmp_path: Path) -> None:
    """Accepted while no pool stands, done when one comes; handed back, done when it comes again."""
    front = Replica(database_url, tmp_path, "front", settings=FRONT)
    pool = Replica(database_url, tmp_path, "pool", settings=POOL)
    caller = Caller()
    front.start()
    try:
        await caller.to(await front.address())
        first = await caller.start("first", service.request("count", to=3))
        longest = await caller.start("longest", service.request("steps", to=30, pause=0.1))
        assert _queued(database_url) == {"test.cuda": 2}
        pool.start()
        assert not (await caller.follow(first)).HasField("error")
        assert (await caller.look(longest)).done is False
        assert pool.end(signal.SIGTERM) == 0  # to zero, in the middle of it
        assert _queued(database_url) == {"test.cuda": 1}
        pool.start()
        ended = await caller.follow(longest)
        assert not ended.HasField("error")
        assert service.answer_of(ended)["attempt"] == 2
    finally:
        await caller.close()
        for replica in (front, pool):
            if replica.process is not None and replica.process.poll() is None:
                replica.kill()


def _queued(database_url: str) -> dict[str, int]:
    """How many operations wait, by queue."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT queue, count(*) FROM test.operations WHERE state = 'queued' GROUP BY queue"
        ).fetchall()
    return {str(queue): int(count) for queue, count in rows}
