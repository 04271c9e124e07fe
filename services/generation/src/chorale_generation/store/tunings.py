"""Trainings at a provider that are not over: what a replica that goes on has to know."""

from dataclasses import dataclass
from typing import Any

from chorale_runtime.database import Database


@dataclass(frozen=True)
class Tuning:
    """A training at a provider, and the data that lies there for it."""

    operation: str
    provider: str
    file_id: str
    file_url: str
    sha256: str
    size_bytes: int
    training_id: str = ""
    resumed_count: int = 0


class Tunings:
    """Keeps them under the operation that waits; whoever asks has checked the owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resume(self, operation: str) -> Tuning | None:
        """What an earlier attempt came to; counts that it is taken up again."""
        query = """UPDATE tuning SET resumed_count = resumed_count + 1
            WHERE operation = %s RETURNING *"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (_identity(operation),))).fetchone()
        return None if row is None else _tuning(row)

    async def find(self, operation: str) -> Tuning | None:
        """The same, counting nothing."""
        query = "SELECT * FROM tuning WHERE operation = %s"
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (_identity(operation),))).fetchone()
        return None if row is None else _tuning(row)

    async def keep(self, tuning: Tuning) -> None:
        """Keeps what was uploaded, before anything is begun with it."""
        query = """INSERT INTO tuning (operation, provider, file_id, file_url, sha256, size_bytes)
            VALUES (%s, %s, %s, %s, %s, %s)"""
        values = (
            _identity(tuning.operation),
            tuning.provider,
            tuning.file_id,
            tuning.file_url,
            tuning.sha256,
            tuning.size_bytes,
        )
        async with self._database.connection() as connection:
            await connection.execute(query, values)

    async def begun(self, operation: str, training_id: str) -> bool:
        """Keeps the identity that the provider gave to the training; False if it was let go of."""
        query = "UPDATE tuning SET training_id = %s WHERE operation = %s"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (training_id, _identity(operation)))
        return cursor.rowcount > 0

    async def drop(self, operation: str) -> None:
        """Lets go of one that is over."""
        query = "DELETE FROM tuning WHERE operation = %s"
        async with self._database.connection() as connection:
            await connection.execute(query, (_identity(operation),))

    async def abandoned(self) -> list[Tuning]:
        """Those that nobody waits for: their operation was cancelled, has ended or is forgotten."""
        query = """SELECT tuning.* FROM tuning LEFT JOIN operations ON operations.id = operation
            WHERE operations.id IS NULL OR operations.cancel_requested
                OR operations.state NOT IN ('queued', 'running')
            ORDER BY tuning.create_time LIMIT 100"""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query)).fetchall()
        return [_tuning(row) for row in rows]


def _tuning(row: dict[str, Any]) -> Tuning:
    fields = {name: row[name] for name in Tuning.__dataclass_fields__}
    return Tuning(**(fields | {"operation": f"operations/{row['operation']}"}))


def _identity(operation: str) -> str:
    return operation.removeprefix("operations/")
