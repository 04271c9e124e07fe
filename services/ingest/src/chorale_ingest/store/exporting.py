"""Sound as a file in another encoding: made once for its owner, then signed as often as wanted.

A row says that a file is being made before its object exists, and that it is ready once it
is whole; both go with the audio. Files are an owner's own, so that nobody learns by the
time it takes that somebody else has the same sound.
"""

import hashlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from chorale_runtime.database import Database
from chorale_runtime.objects import Objects

from chorale_ingest.forms import Cast, Form, cast
from chorale_ingest.sounds import AudioNotFound, Entry
from chorale_ingest.store.casting import Caster
from chorale_ingest.store.catalogue import lock

BATCH = 200
BEGUN = "6 hours"  # longer than the longest file takes: what is not ready then never will be


@dataclass(frozen=True)
class Export:
    """A file that is ready."""

    export_id: str
    size_bytes: int
    file_sha256: str

    @property
    def key(self) -> str:
        """Where it lies."""
        return export_key(self.export_id)


class Exporter:
    """Makes and finds files of sounds."""

    def __init__(self, database: Database, objects: Objects, caster: Caster) -> None:
        self._database, self._objects, self._caster = database, objects, caster

    async def export(self, entry: Entry, form: Form, sample_rate_hz: int = 0) -> Export:
        """The file of an audio in a form, made now unless it is there."""
        made = cast(entry.sound, form, sample_rate_hz)
        return await self._found(entry, made) or await self._make(entry, made)

    async def _found(self, entry: Entry, made: Cast) -> Export | None:
        query = """SELECT export_id, size_bytes, file_sha256 FROM export
            WHERE owner = %s AND sha256 = %s AND form = %s AND sample_rate_hz = %s AND ready"""
        values = (entry.owner, entry.sound.sha256, made.form.name, made.sample_rate_hz)
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        return None if row is None else _export(row)

    async def _make(self, entry: Entry, made: Cast) -> Export:
        export_id = uuid.uuid4()
        async with self._database.connection() as connection:
            await connection.execute(
                """INSERT INTO export (export_id, owner, sha256, form, sample_rate_hz)
                   VALUES (%s, %s, %s, %s, %s)""",
                (export_id, entry.owner, entry.sound.sha256, made.form.name, made.sample_rate_hz),
            )
        try:
            key, digest = export_key(str(export_id)), hashlib.sha256()
            async with self._objects.writer(key, made.form.content_type) as writer:
                async for data in self._bytes(entry, made, key):
                    digest.update(data)
                    await writer.write(data)
            size_bytes = writer.size_bytes
            return await self._ready(entry, made, str(export_id), size_bytes, digest.hexdigest())
        except Exception:
            await self._drop(str(export_id))
            raise

    async def _bytes(self, entry: Entry, made: Cast, key: str) -> AsyncIterator[bytes]:
        if not made.form.codec:
            async for data in self._caster.wave(entry.sound, made):
                yield data
            return
        # An encoder tells a file's head last; what follows it waits in the storage.
        async with self._objects.writer(_body_key(key)) as body:
            head = await self._caster.encode(entry.sound, made, body.write)
        yield head
        if body.size_bytes:
            async for data in self._objects.read(_body_key(key)):
                yield data
        await self._objects.delete(_body_key(key))

    async def _ready(
        self, entry: Entry, made: Cast, export_id: str, size_bytes: int, file_sha256: str
    ) -> Export:
        """Let it be found, unless the audio is gone; who made the same earlier was first."""
        async with self._database.connection() as connection:
            await lock(connection, entry.sound.sha256)
            cursor = await connection.execute(
                """UPDATE export SET ready = true, size_bytes = %(size_bytes)s,
                       file_sha256 = %(file_sha256)s
                   WHERE export_id = %(export_id)s AND EXISTS (
                       SELECT FROM living WHERE owner = %(owner)s AND sha256 = %(sha256)s)
                   AND NOT EXISTS (SELECT FROM export AS other WHERE other.ready
                       AND other.owner = %(owner)s AND other.sha256 = %(sha256)s
                       AND other.form = %(form)s AND other.sample_rate_hz = %(sample_rate_hz)s)
                   RETURNING export_id, size_bytes, file_sha256""",
                {
                    "export_id": export_id,
                    "owner": entry.owner,
                    "sha256": entry.sound.sha256,
                    "form": made.form.name,
                    "sample_rate_hz": made.sample_rate_hz,
                    "size_bytes": size_bytes,
                    "file_sha256": file_sha256,
                },
            )
            row = await cursor.fetchone()
        if row is not None:
            return _export(row)
        await self._drop(export_id)
        first = await self._found(entry, made)
        if first is None:
            raise AudioNotFound(entry.name)
        return first

    async def collect(self, count: int = BATCH) -> int:
        """Remove files whose audio is gone, and those that nobody will finish."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                """SELECT export_id FROM export WHERE (ready AND NOT EXISTS (SELECT FROM living
                       WHERE living.owner = export.owner AND living.sha256 = export.sha256))
                   OR (NOT ready AND create_time < now() - %s::interval) LIMIT %s""",
                (BEGUN, count),
            )
            gone = [str(row["export_id"]) for row in await cursor.fetchall()]
        for export_id in gone:
            await self._drop(export_id)
        return len(gone)

    async def forget(self, owner: str, sha256: str) -> None:
        """Remove the files of an owner's audio that is gone."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT export_id FROM export WHERE owner = %s AND sha256 = %s AND ready",
                (owner, sha256),
            )
            gone = [str(row["export_id"]) for row in await cursor.fetchall()]
        for export_id in gone:
            await self._drop(export_id)

    async def _drop(self, export_id: str) -> None:
        await self._objects.delete(_body_key(export_key(export_id)))
        await self._objects.delete(export_key(export_id))
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM export WHERE export_id = %s", (export_id,))


def export_key(export_id: str) -> str:
    """Where a file lies."""
    return f"exports/{export_id}"


def _body_key(key: str) -> str:
    return f"{key}.body"


def _export(row: dict[str, object]) -> Export:
    size_bytes = row["size_bytes"]
    assert isinstance(size_bytes, int)
    return Export(str(row["export_id"]), size_bytes, str(row["file_sha256"]))
