"""The job queue under operations: procrastinate's tables and functions, and no more of it.

Its own worker ends when one of its connections fails, and what it ran is run again.
Ours (`worker.py`) outlives the database, so it takes from procrastinate what is hard to
get right, the queue itself: claims with SKIP LOCKED, priorities, schedules, heartbeats.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as QueuedJob
from procrastinate.manager import JobManager
from procrastinate.sql import queries

from chorale_runtime.database import Connection, Database

TASK = "operation"


class JobQueue:
    """Jobs, each the wish that one operation be run."""

    def __init__(self, database: Database, manager: JobManager) -> None:
        self._database, self._manager = database, manager

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Use the queue in the database's schema, over its pool."""
        connector = PsycopgConnector()
        # It asks for its own rows by row factory, so those of our pool are none of its concern.
        await connector.open_async(cast(Any, database.pool))
        return cls(database, JobManager(connector))

    async def defer(
        self, connection: Connection, operation: uuid.UUID, queue: str, priority: int
    ) -> int:
        """Put a job into the queue, in the transaction of `connection`; return its id."""
        job = QueuedJob(
            queue=queue,
            priority=priority,
            lock=None,
            queueing_lock=None,
            task_name=TASK,
            task_kwargs={"operation": str(operation)},
        )
        try:
            deferred = await self._manager.defer_job_async(job, connection=connection)
        except ConnectorException as error:
            raise _cause(error) from error
        if deferred.id is None:
            raise AssertionError("a deferred job has an id")
        return deferred.id

    async def fetch(self, queue: str, worker: int) -> QueuedJob | None:
        """Take the next job of the queue for `worker`; None if there is none that is due."""
        async with self._database.typed_errors():
            try:
                return await self._manager.fetch_job(queues=[queue], worker_id=worker)
            except ConnectorException as error:
                raise _cause(error) from error

    async def register(self) -> int:
        """Make a new worker, alive from now on; return its id."""
        async with self._database.typed_errors():
            try:
                return await self._manager.register_worker()
            except ConnectorException as error:
                raise _cause(error) from error

    async def drop(self, connection: Connection, job: int) -> None:
        """Take a job out of the queue for good, whatever became of it meanwhile."""
        await connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (job,))

    async def put_back(self, connection: Connection, job: int, delay_seconds: float) -> None:
        """Make a job that was taken due again, after a while."""
        await connection.execute(
            queries["retry_job"],
            {
                "job_id": job,
                "retry_at": datetime.now(UTC) + timedelta(seconds=delay_seconds),
                "new_priority": None,
                "new_queue_name": None,
                "new_lock": None,
            },
        )

    async def leave(self, worker: int) -> None:
        """Put back what the worker has taken, and strike it off."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, queue_name FROM procrastinate_jobs"
                " WHERE worker_id = %s AND status = 'doing'",
                (worker,),
            )
            for row in await cursor.fetchall():
                await self.put_back(connection, row["id"], 0.0)
                await connection.execute(
                    "SELECT operations_notify(%s)", (f"work {row['queue_name']}",)
                )
            await connection.execute(queries["unregister_worker"], {"worker_id": worker})


def _cause(error: ConnectorException) -> BaseException:
    """Undo procrastinate's wrapping, so that the database's own errors keep their meaning."""
    return error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
