"""Reference tracks that callers keep: what is told of them, and what matching needs."""

from typing import Any

from chorale.mastering.v1 import presets_pb2
from chorale_runtime.database import Database

PREFIX = "references/"


class ReferenceNotFound(Exception):
    """No reference of this name is the caller's."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference

    def __str__(self) -> str:
        return f"You keep no {self.reference}; `CreateReference` makes one."


class References:
    """Reads and writes them. Owners are arguments: every query has one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, owner: str, reference: presets_pb2.Reference, facts: bytes) -> None:
        """Keeps a reference under the name it has; keeping it twice keeps it once."""
        async with self._database.connection() as connection:
            await connection.execute(
                """INSERT INTO reference_tracks (id, owner, genre, told, facts)
                   VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING""",
                (
                    reference.name.removeprefix(PREFIX),
                    owner,
                    _storable(reference.genre),
                    reference.SerializeToString(),
                    facts,
                ),
            )

    async def find(self, owner: str, name: str) -> presets_pb2.Reference:
        """What is told of one."""
        return _told(await self._row(owner, name))

    async def facts(self, owner: str, name: str) -> bytes:
        """What matching needs of one."""
        return bytes((await self._row(owner, name))["facts"])

    async def page(
        self, owner: str, genre: str, before: int | None, count: int
    ) -> list[tuple[int, presets_pb2.Reference]]:
        """The owner's, newest first, with their places in that order."""
        query = """SELECT * FROM reference_tracks WHERE owner = %(owner)s
            AND (%(genre)s = '' OR genre = %(genre)s)
            AND (%(before)s::bigint IS NULL OR sequence < %(before)s)
            ORDER BY sequence DESC LIMIT %(count)s"""
        values = {"owner": owner, "genre": _storable(genre), "before": before, "count": count}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        return [(row["sequence"], _told(row)) for row in rows]

    async def delete(self, owner: str, name: str) -> None:
        """Deletes one; raises `ReferenceNotFound`."""
        query = "DELETE FROM reference_tracks WHERE owner = %s AND id = %s"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (owner, name.removeprefix(PREFIX)))
            if not cursor.rowcount:
                raise ReferenceNotFound(name)

    async def _row(self, owner: str, name: str) -> dict[str, Any]:
        query = "SELECT * FROM reference_tracks WHERE owner = %s AND id = %s"
        async with self._database.connection() as connection:
            values = (owner, name.removeprefix(PREFIX))
            row = await (await connection.execute(query, values)).fetchone()
        if row is None:
            raise ReferenceNotFound(name)
        return row


def _storable(text: str) -> str:
    return text.replace("\0", "")  # which PostgreSQL stores in no text


def _told(row: dict[str, Any]) -> presets_pb2.Reference:
    reference = presets_pb2.Reference.FromString(row["told"])
    reference.create_time.FromDatetime(row["create_time"])
    return reference
