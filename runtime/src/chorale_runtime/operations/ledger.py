"""What workers write: claims, steps, endings. Every write about a run names its attempt.

A run that was taken over, cancelled or has ended is answered with False and changes
nothing: that is all there is to "exactly once in the eyes of its caller".
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chorale_runtime.database import Connection, Database
from chorale_runtime.operations.errors import OperationAbandoned, OperationCancelled
from chorale_runtime.operations.measures import Waiting
from chorale_runtime.operations.queue import JobQueue
from chorale_runtime.operations.records import SELECT, Record, name_of
from chorale_runtime.operations.transitions import Ending, Policy, end, tell, wake
from chorale_runtime.operations.work import Step

# Of a run: which attempt at which operation.
RunKey = tuple[uuid.UUID, int]


@dataclass(frozen=True)
class Standing:
    """What is a worker's in truth, beside what it believes."""

    runs: dict[RunKey, bool]
    """Its runs, and whether each is to be cancelled."""
    jobs: frozenset[int]
    """The jobs it has taken."""


class Ledger:
    """The workers' side of the table of operations."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        policy: Policy,
        say: Callable[[BaseException], bytes],
    ) -> None:
        self._database, self._queue = database, queue
        self._policy, self._say = policy, say

    async def claim(self, job: int, identity: uuid.UUID) -> Record | None:
        """Begin the next attempt; None if there is nothing left to do, and the job is dropped."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "UPDATE operations SET state = 'running', attempt = attempt + 1,"
                " start_time = now() WHERE id = %s AND job_id = %s"
                " AND state IN ('queued', 'running') AND NOT cancel_requested RETURNING id",
                (identity, job),
            )
            if await cursor.fetchone() is None:
                await self._queue.drop(connection, job)
                return None
            await tell(connection, identity, Step("running", 0.0, ""))
            cursor = await connection.execute(SELECT.encode() + b" WHERE o.id = %s", (identity,))
            row = await cursor.fetchone()
            return Record.of(row) if row else None

    async def note(self, run: Record, steps: Sequence[Step]) -> bool:
        """Write steps of a run."""
        async with self._database.connection() as connection:
            return await _note(connection, run, steps)

    async def end(self, run: Record, ending: Ending, steps: Sequence[Step]) -> bool:
        """Write the last steps of a run and its end."""
        async with self._database.connection() as connection:
            is_ours = await _note(connection, run, steps)
            if is_ours:
                await end(connection, run.id, ending, self._policy.retention_seconds)
            return is_ours

    async def put_back(
        self, run: Record, message: str, delay_seconds: float = 0.0, *, is_failure: bool
    ) -> bool:
        """Let someone begin the next attempt, after a while."""
        async with self._database.connection() as connection:
            is_ours = await _note(connection, run, ())
            if is_ours:
                await self._requeue(connection, run, message, delay_seconds, is_failure)
            return is_ours

    async def beat(self, worker: int) -> Standing | None:
        """Say that the worker lives, and learn what is still its own.

        None: the worker was given up for dead, and all it had is others' now.
        """
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "UPDATE procrastinate_workers SET last_heartbeat = now()"
                " WHERE id = %s RETURNING id",
                (worker,),
            )
            if await cursor.fetchone() is None:
                return None
            cursor = await connection.execute(
                "SELECT j.id AS job, o.id, o.attempt, o.cancel_requested"
                " FROM procrastinate_jobs j LEFT JOIN operations o"
                " ON o.job_id = j.id AND o.state = 'running'"
                " WHERE j.worker_id = %s AND j.status = 'doing'",
                (worker,),
            )
            rows = await cursor.fetchall()
        runs = {(r["id"], r["attempt"]): r["cancel_requested"] for r in rows if r["id"]}
        return Standing(runs, frozenset(row["job"] for row in rows))

    async def is_alone(self, worker: int) -> bool:
        """Whether no other worker of the service has given a sign of life of late."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT 1 FROM procrastinate_workers WHERE id <> %s"
                " AND last_heartbeat > now() - make_interval(secs => %s) LIMIT 1",
                (worker, self._policy.stalled_seconds),
            )
            return await cursor.fetchone() is None

    async def take_over(self, attempts_max: Callable[[str], int]) -> bool:
        """Put back the work of one dead worker; False if there is none to be found.

        A database that has just started has heard of nobody yet: everyone gets as
        long to report as a silence may last.
        """
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                SELECT.encode()
                + b"""
                JOIN procrastinate_jobs j ON j.id = o.job_id
                LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
                WHERE j.status = 'doing'
                    AND (w.id IS NULL
                        OR w.last_heartbeat < now() - make_interval(secs => %(silence)s))
                    AND pg_postmaster_start_time() < now() - make_interval(secs => %(silence)s)
                ORDER BY j.id LIMIT 1 FOR UPDATE OF o, j SKIP LOCKED
                """,
                {"silence": self._policy.stalled_seconds},
            )
            row = await cursor.fetchone()
            if row is None:
                return False
            await self._take_over(connection, Record.of(row), attempts_max)
            return True

    async def release(self, job: int, attempts_max: Callable[[str], int]) -> None:
        """Put back a job that a living worker was given and never heard of.

        The database took it and the connection broke before the answer came.
        """
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                SELECT.encode() + b" WHERE o.job_id = %s FOR UPDATE OF o", (job,)
            )
            row = await cursor.fetchone()
            if row is None:
                await self._queue.drop(connection, job)
            else:
                await self._take_over(connection, Record.of(row), attempts_max)

    async def _take_over(
        self, connection: Connection, run: Record, attempts_max: Callable[[str], int]
    ) -> None:
        ending = None
        if run.is_done and run.job_id is not None:
            await self._queue.drop(connection, run.job_id)
            return
        if run.cancel_requested:
            error = self._say(OperationCancelled(run.name))
            ending = Ending("cancelled", Step("cancelled", 0.0, "Cancelled."), error=error)
        elif run.state == "running" and run.failures + 1 >= attempts_max(run.method):
            lost = OperationAbandoned(run.name, run.attempt)
            ending = Ending("failed", Step("failed", 0.0, str(lost)), error=self._say(lost))
        if ending is not None:
            await end(connection, run.id, ending, self._policy.retention_seconds)
        else:
            is_lost = run.state == "running"
            message = "The worker was lost; the work begins again." if is_lost else ""
            await self._requeue(connection, run, message, 0.0, is_lost)

    async def mend(self) -> int:
        """Give a new job to operations whose job is gone, say by a hand at the database."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT o.id, o.queue, o.priority FROM operations o"
                " LEFT JOIN procrastinate_jobs j ON j.id = o.job_id"
                " WHERE o.state IN ('queued', 'running') AND j.id IS NULL"
                " LIMIT 100 FOR UPDATE OF o SKIP LOCKED"
            )
            rows = await cursor.fetchall()
            for row in rows:
                job = await self._queue.defer(connection, row["id"], row["queue"], row["priority"])
                await connection.execute(
                    "UPDATE operations SET state = 'queued', job_id = %s WHERE id = %s",
                    (job, row["id"]),
                )
                await tell(connection, row["id"], Step("queued", 0.0, "Its job was lost."))
                await wake(connection, row["queue"])
            return len(rows)

    async def expired(self, limit: int = 100) -> list[str]:
        """Name operations whose time is over."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT id FROM operations WHERE state NOT IN ('queued', 'running')"
                " AND (expire_time < now() OR is_deleted) LIMIT %s",
                (limit,),
            )
            return [name_of(row["id"]) for row in await cursor.fetchall()]

    async def forget(self, identities: Sequence[uuid.UUID]) -> None:
        """Delete operations that have ended, with their events."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM operations WHERE id = ANY(%s) AND state NOT IN ('queued', 'running')",
                (list(identities),),
            )

    async def waiting(self) -> list[Waiting]:
        """Count what waits in each queue, and say since when."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT queue, count(*) AS count,"
                " extract(epoch FROM now() - min(create_time))::float AS oldest_seconds"
                " FROM operations WHERE state = 'queued' GROUP BY queue"
            )
            return [Waiting(**row) for row in await cursor.fetchall()]

    async def strike_off(self) -> None:
        """Delete workers that have been dead for long."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM procrastinate_workers"
                " WHERE last_heartbeat < now() - make_interval(secs => %s)",
                (100 * self._policy.stalled_seconds,),
            )

    async def _requeue(
        self,
        connection: Connection,
        run: Record,
        message: str,
        delay_seconds: float,
        is_failure: bool,
    ) -> None:
        await connection.execute(
            "UPDATE operations SET state = 'queued', failures = failures + %s WHERE id = %s",
            (int(is_failure), run.id),
        )
        if run.job_id is not None:
            await self._queue.put_back(connection, run.job_id, delay_seconds)
        if message:
            await tell(connection, run.id, Step("queued", 0.0, message))
        await wake(connection, run.queue)


async def _note(connection: Connection, run: Record, steps: Sequence[Step]) -> bool:
    """Lock the run if it is still this attempt's, and write its steps."""
    cursor = await connection.execute(
        "SELECT id FROM operations WHERE id = %s AND attempt = %s AND state = 'running' FOR UPDATE",
        (run.id, run.attempt),
    )
    if await cursor.fetchone() is None:
        return False
    for step in steps:
        await tell(connection, run.id, step)
    return True
