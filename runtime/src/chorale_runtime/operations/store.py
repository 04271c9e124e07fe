"""Operations in PostgreSQL: every change is one transaction that leaves row and queue agreed."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chorale_runtime.database import Connection, Database
from chorale_runtime.operations.errors import OperationCancelled, OperationNotFound, RequestIdReused
from chorale_runtime.operations.paging import Cursor, Filter
from chorale_runtime.operations.queue import JobQueue
from chorale_runtime.operations.records import SELECT, Event, Record, name_of
from chorale_runtime.operations.transitions import Ending, Policy, end, tell, wake
from chorale_runtime.operations.work import Step
from chorale_runtime.processes import QueueFull

EVENTS_MAX = 500  # read at once by one watcher
QUEUE_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Draft:
    """An operation to be."""

    owner: str
    tier: str
    method: str
    request_id: str
    request: bytes
    queue: str
    priority: int
    traceparent: str
    audio: Sequence[str]
    ending: Ending | None = None  # of what is answered already

    @property
    def request_digest(self) -> bytes:
        """What is compared when the same request_id comes again."""
        return hashlib.sha256(self.request).digest()


class Store:
    """What owners may do: start, look, list, cancel, forget."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        policy: Policy,
        say: Callable[[BaseException], bytes],
    ) -> None:
        self._database, self._queue = database, queue
        self._policy, self._say = policy, say

    async def start(self, draft: Draft) -> Record:
        """Accept the operation, or return the one that its request_id began before."""
        async with self._database.connection() as connection:
            found = await self._by_request(connection, draft)
            if found is None:
                if draft.ending is None:
                    await _refuse_full(connection, draft.queue, self._policy.queue_limit)
                await self._insert(connection, draft)
                found = await self._by_request(connection, draft)
        if found is None:
            raise AssertionError("an accepted operation is there")
        if found.request_digest != draft.request_digest:
            raise RequestIdReused(draft.request_id, found.name)
        return found

    async def get(self, identity: uuid.UUID, owner: str) -> Record:
        """Read one operation of `owner`."""
        async with self._database.connection() as connection:
            return await _own(connection, identity, owner)

    async def tail(
        self, identity: uuid.UUID, owner: str, after_sequence: int
    ) -> tuple[Record, list[Event]]:
        """Read one operation of `owner` and its events after a sequence."""
        async with self._database.connection() as connection:
            # The record first: an end that it shows has all its events in the second look.
            record = await _own(connection, identity, owner)
            cursor = await connection.execute(
                "SELECT sequence, stage, fraction, message, attempt, event_time"
                " FROM operation_events WHERE operation_id = %s AND sequence > %s"
                " ORDER BY sequence LIMIT %s",
                (identity, after_sequence, EVENTS_MAX),
            )
            return record, [Event(**row) for row in await cursor.fetchall()]

    async def list(
        self, owner: str, wanted: Filter, after: Cursor | None, limit: int
    ) -> Sequence[Record]:
        """Read operations of `owner`, the newest first."""
        query = SELECT + " WHERE o.owner = %(owner)s AND NOT o.is_deleted"
        values: dict[str, Any] = {"owner": owner, "limit": limit}
        if wanted.done is not None:
            open_states = "o.state IN ('queued', 'running')"
            query += f" AND NOT ({open_states})" if wanted.done else f" AND {open_states}"
        if wanted.method is not None:
            query += " AND o.method = %(method)s"
            values["method"] = wanted.method
        if after is not None:
            query += " AND (o.create_time, o.id) < (%(time)s, %(id)s)"
            values |= {"time": after.create_time, "id": after.id}
        query += " ORDER BY o.create_time DESC, o.id DESC LIMIT %(limit)s"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query.encode(), values)
            return [Record.of(row) for row in await cursor.fetchall()]

    async def cancel(self, identity: uuid.UUID, owner: str) -> None:
        """End a queued operation at once; ask the worker of a running one to stop."""
        async with self._database.connection() as connection:
            await _own(connection, identity, owner)
            await self._cancel(connection, identity, "Cancelled by its owner.")

    async def delete(self, identity: uuid.UUID, owner: str) -> None:
        """Forget an operation: at once if it has ended, when it ends if not."""
        async with self._database.connection() as connection:
            await _own(connection, identity, owner)
            await connection.execute(
                "UPDATE operations SET is_deleted = true, request_id = id::text WHERE id = %s",
                (identity,),
            )
            await connection.execute(
                "DELETE FROM operations WHERE id = %s AND state NOT IN ('queued', 'running')",
                (identity,),
            )

    async def forget_audio(self, audio: str, owner: str) -> int:
        """Cancel and forget every operation of `owner` about an audio that is no more."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "UPDATE operations SET is_deleted = true, request_id = id::text"
                " WHERE owner = %s AND audio @> ARRAY[%s] AND NOT is_deleted RETURNING id",
                (owner, audio),
            )
            found = [row["id"] for row in await cursor.fetchall()]
            for identity in found:
                await self._cancel(connection, identity, "The audio it worked on was deleted.")
            await connection.execute(
                "DELETE FROM operations WHERE id = ANY(%s) AND state NOT IN ('queued', 'running')",
                (found,),
            )
            return len(found)

    async def _cancel(self, connection: Connection, identity: uuid.UUID, message: str) -> None:
        cursor = await connection.execute(
            "UPDATE operations SET cancel_requested = true"
            " WHERE id = %s AND state IN ('queued', 'running') RETURNING state",
            (identity,),
        )
        row = await cursor.fetchone()
        if row is None:
            return
        if row["state"] == "running":
            await tell(connection, identity, Step("cancelling", 0.0, message))
            await connection.execute("SELECT operations_notify(%s)", (f"cancel {identity}",))
            return
        error = self._say(OperationCancelled(name_of(identity)))
        ending = Ending("cancelled", Step("cancelled", 0.0, message), error=error)
        await end(connection, identity, ending, self._policy.retention_seconds)

    async def _by_request(self, connection: Connection, draft: Draft) -> Record | None:
        cursor = await connection.execute(
            SELECT.encode() + b" WHERE o.owner = %s AND o.method = %s AND o.request_id = %s",
            (draft.owner, draft.method, draft.request_id),
        )
        row = await cursor.fetchone()
        return Record.of(row) if row else None

    async def _insert(self, connection: Connection, draft: Draft) -> None:
        identity = uuid.uuid4()
        # Of concurrent calls with one request_id the first inserts; the others wait here for
        # its transaction to end, insert nothing, and then read what it began.
        cursor = await connection.execute(
            """
            INSERT INTO operations (id, owner, tier, method, request_id, request_digest, request,
                queue, priority, traceparent, audio)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (owner, method, request_id) DO NOTHING RETURNING id
            """,
            (
                identity,
                draft.owner,
                draft.tier,
                draft.method,
                draft.request_id,
                draft.request_digest,
                draft.request,
                draft.queue,
                draft.priority,
                draft.traceparent,
                list(draft.audio),
            ),
        )
        if await cursor.fetchone() is None:
            return
        if draft.ending is not None:
            await end(connection, identity, draft.ending, self._policy.retention_seconds)
            return
        job = await self._queue.defer(connection, identity, draft.queue, draft.priority)
        await connection.execute("UPDATE operations SET job_id = %s WHERE id = %s", (job, identity))
        await tell(connection, identity, Step("queued", 0.0, ""))
        await wake(connection, draft.queue)


async def _own(connection: Connection, identity: uuid.UUID, owner: str) -> Record:
    cursor = await connection.execute(
        SELECT.encode() + b" WHERE o.id = %s AND o.owner = %s AND NOT o.is_deleted",
        (identity, owner),
    )
    row = await cursor.fetchone()
    if row is None:
        raise OperationNotFound(name_of(identity))
    return Record.of(row)


async def _refuse_full(connection: Connection, queue: str, limit: int) -> None:
    cursor = await connection.execute(
        "SELECT count(*) AS count FROM"
        " (SELECT 1 FROM operations WHERE queue = %s AND state = 'queued' LIMIT %s) AS queued",
        (queue, limit),
    )
    row = await cursor.fetchone()
    if row is not None and row["count"] >= limit:
        raise QueueFull(queue, limit, QUEUE_RETRY_SECONDS)
