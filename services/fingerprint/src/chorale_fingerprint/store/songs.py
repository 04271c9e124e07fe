"""Which recordings are of one song, and what else is known of the music of an owner."""

import uuid
from dataclasses import dataclass
from typing import Any

from chorale_runtime.database import Connection, Database

# Names the song that a recording or pattern begins: the same however often it is asked for.
SONGS = uuid.UUID("0f0c7a5e-52f3-4dc2-8f5e-6f1d1f2a7c33")
# How near tempo and duration must be for music to be the same, by hint.
_BPM_NEAR, _DURATION_NEAR = 0.01, 0.02
_HINTED_MAX = 20


@dataclass(frozen=True)
class Other:
    """Another recording that a caller might take instead."""

    name: uuid.UUID
    title: str
    artist: str


class SongsOfRecordings:
    """Reads and writes which recordings belong together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def same_audio(self, owner: str, audio: str) -> list[uuid.UUID]:
        """The owner's recordings that were enrolled from any stretch of this audio."""
        query = """SELECT DISTINCT recording.id, name FROM recording
            JOIN copy ON copy.recording = recording.id
            WHERE copy.owner = %s AND copy.audio = %s ORDER BY recording.id LIMIT 100"""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, (owner, audio))).fetchall()
        return [row["name"] for row in rows]

    async def joined(self, owner: str, recording: uuid.UUID, other: uuid.UUID) -> uuid.UUID | None:
        """Makes two recordings of an owner one song, and names it; None when one is gone."""
        async with self._database.connection() as connection:
            song = await _song(connection, owner, other)
            if song is None:
                return None
            await connection.execute(
                "UPDATE recording SET song = %s WHERE owner = %s AND name = ANY(%s)",
                (song, owner, [recording, other]),
            )
        return song

    async def song(self, owner: str, recording: uuid.UUID) -> uuid.UUID | None:
        """The song of the owner's recording, begun now if it was alone; None when it is gone."""
        async with self._database.connection() as connection:
            return await _song(connection, owner, recording)

    async def sections(self, owner: str, song: uuid.UUID) -> list[int]:
        """Which sections of a song the owner has enrolled, each once."""
        query = """SELECT DISTINCT section FROM recording
            WHERE owner = %s AND song = %s AND section <> 0 ORDER BY 1"""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, (owner, song))).fetchall()
        return [row["section"] for row in rows]

    async def hinted(self, owner: str, bpm: float, key: str, seconds: float) -> list[uuid.UUID]:
        """The owner's recordings of the same tempo, key and duration."""
        if not bpm or not key:
            return []
        query = """SELECT name FROM recording WHERE owner = %(owner)s AND key = %(key)s
            AND abs(bpm - %(bpm)s) <= %(bpm)s * %(bpm_near)s
            AND abs(frame_count::float / sample_rate_hz - %(seconds)s) <= %(seconds)s * %(near)s
            ORDER BY abs(bpm - %(bpm)s), id LIMIT %(limit)s"""
        values = {
            "owner": owner,
            "key": key,
            "bpm": bpm,
            "seconds": seconds,
            "bpm_near": _BPM_NEAR,
            "near": _DURATION_NEAR,
            "limit": _HINTED_MAX,
        }
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        return [row["name"] for row in rows]

    async def others(
        self, owner: str, bpm: float, without: list[uuid.UUID], limit: int
    ) -> list[Other]:
        """Recordings the owner may hear that are of other songs: nearest in tempo, then newest."""
        query = """SELECT name, title, artist FROM recording
            WHERE (owner = %(owner)s OR is_public) AND name <> ALL(%(without)s)
            AND (song IS NULL OR song NOT IN (SELECT song FROM recording
                WHERE name = ANY(%(without)s) AND song IS NOT NULL))
            ORDER BY CASE WHEN %(bpm)s > 0 AND bpm > 0 THEN abs(bpm - %(bpm)s) ELSE 1000 END,
                id DESC LIMIT %(limit)s"""
        values = {"owner": owner, "bpm": bpm, "without": without, "limit": limit}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        return [Other(row["name"], row["title"], row["artist"]) for row in rows]

    async def owned(self, owner: str, audio: list[str]) -> list[uuid.UUID]:
        """The owner's recordings, oldest first; only those of this audio where some is named."""
        query = """SELECT name FROM recording WHERE owner = %(owner)s
            AND (cardinality(%(audio)s::text[]) = 0 OR EXISTS (SELECT FROM copy
                WHERE copy.recording = recording.id AND copy.audio = ANY(%(audio)s)))
            ORDER BY id"""
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, {"owner": owner, "audio": audio})
            return [row["name"] for row in await cursor.fetchall()]


async def _song(connection: Connection, owner: str, recording: uuid.UUID) -> uuid.UUID | None:
    query = "SELECT song, title, artist FROM recording WHERE owner = %s AND name = %s FOR UPDATE"
    row = await (await connection.execute(query, (owner, recording))).fetchone()
    if row is None:
        return None
    if row["song"] is not None:
        return uuid.UUID(str(row["song"]))
    said = (row["title"], row["artist"])
    song = (await begun_with(connection, owner, recording, *said))["name"]
    await connection.execute(
        "UPDATE recording SET song = %s WHERE owner = %s AND name = %s", (song, owner, recording)
    )
    return uuid.UUID(str(song))


async def begun_with(
    connection: Connection, owner: str, recording: uuid.UUID, title: str, artist: str
) -> dict[str, Any]:
    """The song that a recording begins, as a row: the same however often it is asked for."""
    query = "SELECT id, name FROM song WHERE recording = %s"
    insert = """INSERT INTO song (name, owner, title, artist, recording)
        VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
    name = uuid.uuid5(SONGS, str(recording))
    while True:
        if row := await (await connection.execute(query, (recording,))).fetchone():
            return row
        values = (name, owner, title, artist, recording)
        await connection.execute(insert, values)
        # Or it is taken: the recording was said to be of another song than the one it began.
        name = uuid.uuid4()
