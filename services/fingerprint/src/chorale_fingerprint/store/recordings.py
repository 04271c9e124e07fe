"""Recordings as rows: enrolling, looking codes up, deleting. Every query has an owner.

What is public lies on a shelf of its own, with everybody's; what is private on its owner's.
A query walks its caller's shelf and, unless it wants its own only, the public one: rows of
other owners are never read, so they cannot show, not even as time spent.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from chorale_runtime.database import Connection, Database

from chorale_fingerprint import matching
from chorale_fingerprint.codes import Codes
from chorale_fingerprint.landmarks import landmarks
from chorale_fingerprint.matching import Probes
from chorale_fingerprint.peaks import Peaks
from chorale_fingerprint.store.landmarks import LandmarkStore

PUBLIC_SHELF_OWNER = ""
# Each hit votes for a recording and a shift; these many best are compared bit by bit.
CANDIDATES_MAX = 200
_ID_MAX = (1 << 63) - 1


class ShelfChanged(Exception):
    """Something else was enrolled since the shelf was searched; the search must be repeated."""


@dataclass(frozen=True)
class Stretch:
    """A run of frames of named audio."""

    audio: str
    start_frame: int
    frame_count: int


@dataclass(frozen=True)
class Recording:
    """One performance, as the index knows it."""

    name: uuid.UUID
    owner: str
    audio: str
    frame_count: int
    sample_rate_hz: int
    title: str = ""
    artist: str = ""
    section: int = 0
    is_public: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    bpm: float = 0.0
    key: str = ""
    song: uuid.UUID | None = None
    """The song it is of, where another recording is of it too."""
    create_time: datetime | None = None
    """None until it is enrolled."""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enrolled:
    """A recording with its codes."""

    recording: Recording
    codes: Codes
    id: int = 0
    """Its number, which grows with time; 0 until it is enrolled."""
    peaks: Peaks | None = None
    """What excerpts of it are known by; None when it is read back, as few ask for them."""


@dataclass(frozen=True)
class Filter:
    """Which recordings to list; empty fields want all."""

    audio: str = ""
    text: str = ""
    section: int = 0
    song: str = ""


@dataclass(frozen=True)
class Shelves:
    """What is searched together, as it stood when it was looked at."""

    ids: tuple[int, ...]
    code_count: int
    own_revision: int


@dataclass(frozen=True)
class Candidate:
    """A recording that the index points at, and at which shifts."""

    recording: int
    shifts: frozenset[int]


class Store:
    """Reads and writes the rows."""

    def __init__(self, database: Database, landmark_store: LandmarkStore | None = None) -> None:
        self._database = database
        self.landmarks = landmark_store or LandmarkStore(database)

    async def probe(self) -> None:
        """Raises unless the database answers."""
        await self._database.probe()

    async def known(self, owner: str, stretch: Stretch) -> Enrolled | None:
        """Finds the owner's recording of exactly these frames."""
        query = f"""{_SELECT} JOIN copy ON recording.id = copy.recording
            WHERE copy.owner = %s AND copy.audio = %s AND copy.start_frame = %s
            AND copy.frame_count = %s"""
        values = (owner, stretch.audio, stretch.start_frame, stretch.frame_count)
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        return None if row is None else _enrolled(row)

    async def find(self, owner: str, name: uuid.UUID) -> Enrolled | None:
        """Finds the owner's recording of this name."""
        query = f"{_SELECT} WHERE owner = %s AND name = %s"
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner, name))).fetchone()
        return None if row is None else _enrolled(row)

    async def page(
        self, owner: str, wanted: Filter, before: int | None, count: int
    ) -> list[Enrolled]:
        """The owner's recordings, newest first, from before a number on."""
        query = f"""{_SELECT} WHERE owner = %(owner)s AND id < coalesce(%(before)s, {_ID_MAX})
            AND (%(audio)s = '' OR EXISTS (SELECT FROM copy WHERE copy.recording = recording.id
                AND copy.audio = %(audio)s))
            AND (%(section)s = 0 OR section = %(section)s)
            AND (%(song)s = '' OR 'songs/' || song = %(song)s)
            AND position(lower(%(text)s) IN lower(title || E'\n' || artist)) > 0
            ORDER BY id DESC LIMIT %(count)s"""
        values = {**vars(wanted), "owner": owner, "before": before, "count": count}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        return [_enrolled(row) for row in rows]

    async def shelves(self, owner: str) -> Shelves:
        """Says what a query of this owner walks."""
        query = "SELECT * FROM shelf WHERE owner = ANY(%s)"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, ([owner, PUBLIC_SHELF_OWNER],))
            rows = await cursor.fetchall()
        return Shelves(
            ids=tuple(row["id"] for row in rows),
            code_count=sum(row["code_count"] for row in rows),
            own_revision=next((row["revision"] for row in rows if row["owner"] == owner), 0),
        )

    async def candidates(self, shelves: Shelves, probes: Probes) -> list[Candidate]:
        """Looks codes up; the recordings and shifts with the most hits, most hits first."""
        query = """
            SELECT recording, posting.position - probe.position AS shift, count(*) AS votes
            FROM unnest(%s::int[], %s::int[]) AS probe (code, position)
            JOIN posting ON posting.shelf = ANY(%s) AND posting.code = probe.code
            GROUP BY 1, 2 ORDER BY votes DESC, recording, shift LIMIT %s"""
        values = (
            probes.codes.view(np.int32).tolist(),
            probes.positions.tolist(),
            list(shelves.ids),
            CANDIDATES_MAX,
        )
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        shifts: dict[int, set[int]] = {}
        for row in rows:
            shifts.setdefault(row["recording"], set()).add(row["shift"])
        return [Candidate(recording, frozenset(found)) for recording, found in shifts.items()]

    async def read(
        self, shelves: Shelves, ids: Sequence[int], owner: str | None = None
    ) -> dict[int, Enrolled]:
        """Reads those of these recordings that are on the shelves, only the owner's if named."""
        query = f"""{_SELECT} WHERE id = ANY(%(ids)s) AND shelf = ANY(%(shelves)s)
            AND (%(owner)s::text IS NULL OR owner = %(owner)s)"""
        values = {"ids": list(ids), "shelves": list(shelves.ids), "owner": owner}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        return {row["id"]: _enrolled(row) for row in rows}

    async def peaks(self, shelves: Shelves, ids: Sequence[int]) -> dict[int, Peaks]:
        """Reads the peaks of those of these recordings that are on the shelves."""
        query = "SELECT id, peaks FROM recording WHERE id = ANY(%s) AND shelf = ANY(%s)"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (list(ids), list(shelves.ids)), binary=True)
            rows = await cursor.fetchall()
        return {row["id"]: Peaks.unpacked(row["peaks"]) for row in rows}

    async def add(self, enrolled: Enrolled, stretch: Stretch, seen: Shelves) -> Enrolled:
        """Enrols a recording, whole or not at all.

        Raises `ShelfChanged` when the owner enrolled something since `seen` was looked at: what
        was not found then may be there now.
        """
        recording, codes = enrolled.recording, enrolled.codes
        async with self._database.connection() as connection:
            own = await _advance(connection, recording.owner, seen.own_revision)
            shelf = await _public_shelf(connection) if recording.is_public else own
            await connection.execute(
                "UPDATE shelf SET code_count = code_count + %s WHERE id = %s", (len(codes), shelf)
            )
            row = await (await connection.execute(_INSERT, _values(enrolled, shelf))).fetchone()
            assert row is not None
            await _add_copy(connection, recording.owner, stretch, row["id"])
            await _write_postings(connection, shelf, row["id"], codes)
            if enrolled.peaks is not None:
                found = landmarks(enrolled.peaks)
                await self.landmarks.write(connection, shelf, row["id"], found)
        await self.landmarks.fold(shelf)
        added = replace(recording, create_time=row["create_time"])
        return replace(enrolled, recording=added, id=row["id"])

    async def add_copy(self, name: uuid.UUID, owner: str, stretch: Stretch, seen: Shelves) -> bool:
        """Notes that these frames are the owner's recording too; False when that is gone."""
        async with self._database.connection() as connection:
            await _advance(connection, owner, seen.own_revision)
            query = "SELECT id FROM recording WHERE owner = %s AND name = %s FOR SHARE"
            row = await (await connection.execute(query, (owner, name))).fetchone()
            if row is not None:
                await _add_copy(connection, owner, stretch, row["id"])
        return row is not None

    async def delete(self, owner: str, name: uuid.UUID) -> bool:
        """Deletes the owner's recording with all that was made from it; False if there is none."""
        gone = None
        while gone is None:
            gone = await self._try_delete(owner, name)
        return gone

    async def _try_delete(self, owner: str, name: uuid.UUID) -> bool | None:
        """Deletes, or says that there is none; None when it was laid elsewhere meanwhile."""
        where = "FROM recording WHERE owner = %s AND name = %s"
        async with self._database.connection() as connection:
            found = await connection.execute(f"SELECT shelf {where}", (owner, name))
            seen = await found.fetchone()
            if seen is None:
                return False
            # Before its row: segments are made by those who hold the same lock.
            await self.landmarks.lock(connection, [seen["shelf"]])
            found = await connection.execute(f"SELECT * {where}", (owner, name))
            row = await found.fetchone()
            if row is None or row["shelf"] != seen["shelf"]:
                return None
            await self.landmarks.remove(
                connection, row["shelf"], row["id"], landmarks(Peaks.unpacked(row["peaks"]))
            )
            # And its owner's shelf before it, as whoever enrols does.
            change = "UPDATE shelf SET revision = revision + 1 WHERE owner = %s"
            await connection.execute(change, (owner,))
            gone = "DELETE FROM recording WHERE id = %s RETURNING id"
            if await (await connection.execute(gone, (row["id"],))).fetchone() is None:
                return False
            await drop_song(connection, owner, row["song"])
            codes = np.frombuffer(row["codes"], "<u4")
            await connection.execute(
                "DELETE FROM posting WHERE shelf = %s AND code = ANY(%s) AND recording = %s",
                (row["shelf"], codes.view(np.int32).tolist(), row["id"]),
            )
            less = "UPDATE shelf SET code_count = code_count - %s WHERE id = %s"
            await connection.execute(less, (len(codes), row["shelf"]))
        return True


_SELECT = """SELECT recording.id, name, recording.owner, recording.audio, recording.frame_count,
    sample_rate_hz, title, artist, section, is_public, labels, bpm, key, song, codes, create_time,
    ARRAY(SELECT DISTINCT other.audio FROM copy AS other WHERE other.recording = recording.id
        AND other.audio <> recording.audio ORDER BY 1) AS aliases
    FROM recording"""

_INSERT = """
INSERT INTO recording (name, owner, shelf, audio, frame_count, sample_rate_hz, title, artist,
    section, is_public, labels, bpm, key, codes, peaks)
VALUES (%(name)s, %(owner)s, %(shelf)s, %(audio)s, %(frame_count)s, %(sample_rate_hz)s, %(title)s,
    %(artist)s, %(section)s, %(is_public)s, %(labels)s, %(bpm)s, %(key)s, %(codes)s, %(peaks)s)
RETURNING id, create_time
"""


async def _advance(connection: Connection, owner: str, revision: int) -> int:
    """Counts a change of the owner's shelf, if it still is as it was seen; returns its id.

    Makes it when there is none. The row stays locked to the end of the transaction: of many
    who saw the same revision one goes on, and the others search again.
    """
    insert = "INSERT INTO shelf (owner) VALUES (%s) ON CONFLICT DO NOTHING"
    await connection.execute(insert, (owner,))
    row = await (
        await connection.execute(
            "UPDATE shelf SET revision = revision + 1 WHERE owner = %s AND revision = %s"
            " RETURNING id",
            (owner, revision),
        )
    ).fetchone()
    if row is None:
        raise ShelfChanged
    return int(row["id"])


async def _public_shelf(connection: Connection) -> int:
    query = "SELECT id FROM shelf WHERE owner = %s"
    row = await (await connection.execute(query, (PUBLIC_SHELF_OWNER,))).fetchone()
    assert row is not None
    return int(row["id"])


async def drop_song(connection: Connection, owner: str, song: uuid.UUID | None) -> None:
    """A song ends with the last recording or pattern of it."""
    await connection.execute(
        """DELETE FROM song WHERE owner = %(owner)s AND name = %(song)s
        AND NOT EXISTS (SELECT FROM recording WHERE song = %(song)s)
        AND NOT EXISTS (SELECT FROM pattern WHERE pattern.song = song.id)""",
        {"owner": owner, "song": song},
    )


async def _add_copy(connection: Connection, owner: str, stretch: Stretch, recording: int) -> None:
    await connection.execute(
        "INSERT INTO copy VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (owner, stretch.audio, stretch.start_frame, stretch.frame_count, recording),
    )


async def _write_postings(connection: Connection, shelf: int, recording: int, codes: Codes) -> None:
    kept = matching.postings(codes)
    statement = "COPY posting (shelf, code, recording, position) FROM STDIN"
    async with connection.cursor() as cursor, cursor.copy(statement) as rows:
        pairs = zip(kept.codes.view(np.int32).tolist(), kept.positions.tolist(), strict=True)
        for code, position in pairs:
            await rows.write_row((shelf, code, recording, position))


async def move_postings(connection: Connection, row: dict[str, Any], shelf: int) -> int:
    """Lays the codes of a recording, a whole row, on another shelf; says how many they are."""
    codes = np.frombuffer(row["codes"], "<u4")
    await connection.execute(
        "UPDATE posting SET shelf = %s WHERE shelf = %s AND code = ANY(%s) AND recording = %s",
        (shelf, row["shelf"], codes.view(np.int32).tolist(), row["id"]),
    )
    moved = "UPDATE recording SET shelf = %s WHERE id = %s"
    await connection.execute(moved, (shelf, row["id"]))
    return len(codes)


def _values(enrolled: Enrolled, shelf: int) -> dict[str, object]:
    recording = enrolled.recording
    return {
        **vars(recording),
        "shelf": shelf,
        "labels": json.dumps(recording.labels),
        "codes": enrolled.codes.astype("<u4").tobytes(),
        "peaks": b"" if enrolled.peaks is None else enrolled.peaks.packed(),
    }


def _enrolled(row: dict[str, Any]) -> Enrolled:
    fields = {name: row[name] for name in Recording.__dataclass_fields__}
    recording = Recording(**fields | {"aliases": tuple(row["aliases"])})
    return Enrolled(recording, np.frombuffer(row["codes"], "<u4").astype(np.uint32), row["id"])
