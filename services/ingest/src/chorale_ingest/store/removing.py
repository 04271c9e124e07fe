"""Removing audio: at its owner's word, at its time, and with the last owner its bytes."""

from collections.abc import Sequence

from chorale_runtime.database import Connection, Database
from chorale_runtime.objects import Objects

from chorale_ingest.sounds import AudioNotFound, Deletion, audio_name, cover_key, object_keys
from chorale_ingest.store.catalogue import leave, lock
from chorale_ingest.store.exporting import Exporter

DELETIONS_LOCK = 0x64656C657465  # "delete": makes sequence numbers appear in order


class Remover:
    """Deletes rows first and objects afterwards; what it leaves behind, the next sweep takes."""

    def __init__(self, database: Database, objects: Objects, exporter: Exporter) -> None:
        self._database, self._objects, self._exporter = database, objects, exporter

    async def delete(self, owner: str, sha256: str) -> list[str]:
        """Delete the owner's audio and all of the owner's that was made from it."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_DERIVED, {"owner": owner, "sha256": sha256})
            digests = [row["sha256"] for row in await cursor.fetchall()]
            if not digests:
                raise AudioNotFound(audio_name(sha256))
            await _forget(connection, [(owner, digest) for digest in digests])
        for digest in digests:
            await self._exporter.forget(owner, digest)
            await self.collect(digest)
        return digests

    async def expire(self, count: int) -> int:
        """Delete audio whose time is over, with what was made from it; return how much."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                """SELECT owner, sha256 FROM audio WHERE expire_time <= now()
                   ORDER BY expire_time LIMIT %s FOR UPDATE SKIP LOCKED""",
                (count,),
            )
            expired = [(row["owner"], row["sha256"]) for row in await cursor.fetchall()]
            gone: dict[tuple[str, str], None] = {}
            for owner, digest in expired:
                found = await connection.execute(_DERIVED, {"owner": owner, "sha256": digest})
                gone.update({(owner, row["sha256"]): None for row in await found.fetchall()})
            await _forget(connection, list(gone))
        return len(gone)

    async def collect_garbage(self, count: int) -> int:
        """Remove objects that nobody claimed; return how many digests were looked at."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT sha256 FROM garbage WHERE not_before <= now() LIMIT %s", (count,)
            )
            digests = [row["sha256"] for row in await cursor.fetchall()]
        for digest in digests:
            await self.collect(digest)
        return len(digests)

    async def collect(self, sha256: str) -> None:
        """Remove a digest's objects unless someone claims it or is placing them."""
        async with self._database.connection() as connection:
            await lock(connection, sha256)
            due = await (
                await connection.execute(
                    """SELECT NOT EXISTS (SELECT FROM sound WHERE sha256 = %(sha256)s) AS unclaimed
                       FROM garbage WHERE sha256 = %(sha256)s AND not_before <= now()""",
                    {"sha256": sha256},
                )
            ).fetchone()
            if due is None:
                return
            if due["unclaimed"]:
                for key in (*object_keys(sha256), cover_key(sha256)):
                    await self._objects.delete(key)
            await connection.execute("DELETE FROM garbage WHERE sha256 = %s", (sha256,))

    async def deletions(self, after_sequence: int, count: int) -> list[Deletion]:
        """What is gone, in order, after a sequence number."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                """SELECT sequence, sha256, owner, last FROM deletion
                   WHERE sequence > %s ORDER BY sequence LIMIT %s""",
                (after_sequence, count),
            )
            return [Deletion(**row) for row in await cursor.fetchall()]


_DERIVED = """
WITH RECURSIVE gone AS (
    SELECT sha256 FROM audio WHERE owner = %(owner)s AND sha256 = %(sha256)s
    UNION
    SELECT made.sha256 FROM audio AS made JOIN gone
        ON made.owner = %(owner)s AND made.parents @> ARRAY[gone.sha256]
)
SELECT sha256 FROM gone
"""


async def _forget(connection: Connection, gone: Sequence[tuple[str, str]]) -> None:
    """Delete audio rows, and sounds that were somebody's last; tell the watchers."""
    # In one order everywhere, since each of these locks may wait for another's holder.
    for digest in sorted({digest for _, digest in gone}):
        await lock(connection, digest)
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (DELETIONS_LOCK,))
    for owner, digest in gone:
        await connection.execute(
            "DELETE FROM audio WHERE owner = %s AND sha256 = %s", (owner, digest)
        )
        await connection.execute(
            """INSERT INTO deletion (sha256, owner, last) SELECT %(digest)s, %(owner)s,
               NOT EXISTS (SELECT FROM audio WHERE sha256 = %(digest)s)""",
            {"digest": digest, "owner": owner},
        )
    cursor = await connection.execute(
        """DELETE FROM sound WHERE sha256 = ANY(%s)
           AND NOT EXISTS (SELECT FROM audio WHERE audio.sha256 = sound.sha256)
           RETURNING sha256""",
        ([digest for _, digest in gone],),
    )
    await leave(connection, [row["sha256"] for row in await cursor.fetchall()], "0 hours")
