"""What an owner says anew of a recording, its shelf and its song included."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from chorale_runtime.database import Connection, Database

from chorale_fingerprint.landmarks import landmarks
from chorale_fingerprint.peaks import Peaks
from chorale_fingerprint.store.landmarks import LandmarkStore
from chorale_fingerprint.store.patterns import own_song
from chorale_fingerprint.store.recordings import PUBLIC_SHELF_OWNER, drop_song, move_postings


@dataclass(frozen=True)
class RecordingChanges:
    """What to change; None leaves a field as it is."""

    title: str | None = None
    artist: str | None = None
    section: int | None = None
    is_public: bool | None = None
    labels: dict[str, str] | None = None
    song: uuid.UUID | None = None
    is_alone: bool = False
    """Whether it is to be of no song."""


class RecordingChanger:
    """Changes recordings of one owner at a time."""

    def __init__(self, database: Database, landmark_store: LandmarkStore) -> None:
        self._database, self._landmarks = database, landmark_store

    async def update(self, owner: str, name: uuid.UUID, changes: RecordingChanges) -> bool:
        """Changes the owner's recording, whole or not at all; False if there is none."""
        async with self._database.connection() as connection:
            shelves = await _shelves(connection, owner)
            if changes.is_public is not None:
                # Before any row, as whoever deletes or merges does: two shelves, in one order. And
                # the owner's shelf before the recording, as whoever enrols does.
                await self._landmarks.lock(connection, sorted(shelves.values()))
                change = "UPDATE shelf SET revision = revision + 1 WHERE owner = %s"
                await connection.execute(change, (owner,))
            row = await _locked(connection, owner, name)
            if row is None:
                return False
            if changes.song is not None:
                await own_song(connection, owner, changes.song)
            await connection.execute(_UPDATE, _values(row["id"], changes))
            if changes.song is not None or changes.is_alone:
                await _leave(connection, owner, name, row["song"], changes.song)
            shelf = shelves.get(PUBLIC_SHELF_OWNER if changes.is_public else owner)
            if changes.is_public is None or shelf is None or shelf == row["shelf"]:
                return True
            await self._move(connection, row, shelf)
        await self._landmarks.fold(shelf)
        return True

    async def _move(self, connection: Connection, row: dict[str, Any], shelf: int) -> None:
        """Lays all that a recording is known by on another shelf."""
        found = landmarks(Peaks.unpacked(row["peaks"]))
        await self._landmarks.remove(connection, row["shelf"], row["id"], found)
        await self._landmarks.write(connection, shelf, row["id"], found)
        codes = await move_postings(connection, row, shelf)
        for each, more in ((shelf, codes), (row["shelf"], -codes)):
            counted = "UPDATE shelf SET code_count = code_count + %s WHERE id = %s"
            await connection.execute(counted, (more, each))


_UPDATE = """UPDATE recording SET title = coalesce(%(title)s, title),
    artist = coalesce(%(artist)s, artist), section = coalesce(%(section)s, section),
    labels = coalesce(%(labels)s::jsonb, labels),
    is_public = coalesce(%(is_public)s, is_public),
    song = CASE WHEN %(is_alone)s THEN NULL ELSE coalesce(%(song)s, song) END
    WHERE id = %(id)s"""


def _values(identity: int, changes: RecordingChanges) -> dict[str, Any]:
    labels = None if changes.labels is None else json.dumps(changes.labels)
    return {**vars(changes), "labels": labels, "id": identity}


async def _shelves(connection: Connection, owner: str) -> dict[str, int]:
    query = "SELECT owner, id FROM shelf WHERE owner = ANY(%s)"
    cursor = await connection.execute(query, ([owner, PUBLIC_SHELF_OWNER],))
    return {row["owner"]: row["id"] for row in await cursor.fetchall()}


async def _locked(connection: Connection, owner: str, name: uuid.UUID) -> dict[str, Any] | None:
    query = "SELECT * FROM recording WHERE owner = %s AND name = %s FOR UPDATE"
    return await (await connection.execute(query, (owner, name))).fetchone()


async def _leave(
    connection: Connection,
    owner: str,
    name: uuid.UUID,
    song: uuid.UUID | None,
    new: uuid.UUID | None,
) -> None:
    """A song that a recording leaves is no more the one it was begun with, and ends when empty."""
    if song == new:
        return
    await connection.execute(
        "UPDATE song SET recording = NULL WHERE owner = %s AND name = %s AND recording = %s",
        (owner, song, name),
    )
    await drop_song(connection, owner, song)
