"""Patterns and songs as rows. Every query has an owner."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from chorale_runtime.database import Connection, Database
from chorale_runtime.operations.errors import RequestIdReused

from chorale_fingerprint.layouts import LAYOUTS, Layout, layout_of
from chorale_fingerprint.store.renewal import renewed_in, serving, told
from chorale_fingerprint.store.songs import SONGS, begun_with

_PATTERNS = uuid.UUID("5c8f6f0b-6a52-4b0f-9a2b-0a0f4e4f7a51")
_ID_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class Song:
    """A piece of music."""

    name: uuid.UUID
    title: str = ""
    artist: str = ""
    recording_count: int = 0
    pattern_count: int = 0
    sections: tuple[int, ...] = ()
    create_time: datetime | None = None
    id: int = 0


@dataclass(frozen=True)
class Pattern:
    """What an instrument plays in a snippet."""

    owner: str
    instrument: int
    layout: str
    values: tuple[float, ...]
    song: uuid.UUID | None = None
    """None until it is indexed: then it has one."""
    recording: uuid.UUID | None = None
    section: int = 0
    bpm: float = 0.0
    key: str = ""
    genre: str = ""
    quality_score: float = 0.0
    is_public: bool = False
    audio: str = ""
    start_frame: int = 0
    frame_count: int = 0
    midi: bytes = field(default=b"", repr=False)
    midi_available: bool = False
    preview_audio: str = ""
    time_signature: str = ""
    title: str = ""
    artist: str = ""
    name: uuid.UUID | None = None
    create_time: datetime | None = None
    id: int = 0


class PatternNotFound(Exception):
    """No such pattern, or private to another."""

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        self.pattern = pattern

    def __str__(self) -> str:
        return f"There is no pattern {self.pattern!r} that you may see."


class SongNotFound(Exception):
    """No such song, or nothing of it is the caller's."""

    def __init__(self, song: str) -> None:
        super().__init__(song)
        self.song = song

    def __str__(self) -> str:
        return f"There is no song {self.song!r}, or nothing of it is yours."


class RecordingUnknown(Exception):
    """A pattern names a recording that is not its owner's."""

    def __init__(self, recording: str) -> None:
        super().__init__(recording)
        self.recording = recording

    def __str__(self) -> str:
        return f"There is no recording {self.recording!r}, or it is not yours."


@dataclass(frozen=True)
class Changes:
    """What an owner says anew of a pattern; None leaves a field as it is."""

    section: int | None = None
    genre: str | None = None
    is_public: bool | None = None
    song: uuid.UUID | None = None


class PatternStore:
    """Reads and writes patterns and songs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, patterns: Sequence[Pattern], request_id: uuid.UUID, request: bytes
    ) -> list[Pattern]:
        """Indexes patterns of one owner: all, or none; those of a repeated request as they are.

        Whoever asks from the moment this returns finds them.
        """
        owner = patterns[0].owner
        names = [uuid.uuid5(_PATTERNS, f"{owner}/{request_id}/{i}") for i in range(len(patterns))]
        digest = hashlib.sha256(request).digest()
        async with self._database.connection() as connection:
            if not await _is_new(connection, owner, request_id, digest, len(patterns)):
                return await _named(connection, owner, names)
            songs = [
                await _song_of(connection, pattern, name)
                for pattern, name in zip(patterns, names, strict=True)
            ]
            await _copy(connection, patterns, names, songs)
            return await _named(connection, owner, names)

    async def find(self, reader: str, name: uuid.UUID) -> Pattern | None:
        """The pattern, if the reader may see it; without its MIDI."""
        query = f"{_SELECT} WHERE pattern.name = %s AND (pattern.owner = %s OR is_public)" + _FIRST
        rows = await self._rows(query, (name, reader))
        return pattern_of(rows[0]) if rows else None

    async def midi(self, reader: str, name: uuid.UUID) -> bytes | None:
        """The MIDI file of a pattern that the reader may see, if it has one."""
        query = f"SELECT midi FROM pattern WHERE name = %s AND (owner = %s OR is_public){_FIRST}"  # noqa: S608
        rows = await self._rows(query, (name, reader))
        return bytes(rows[0]["midi"]) or None if rows else None

    async def page(
        self, owner: str, instrument: int, song: uuid.UUID | None, before: int | None, count: int
    ) -> list[Pattern]:
        """The owner's patterns, newest first, from before a number on."""
        query = f"""{_SELECT} WHERE pattern.owner = %s AND pattern.id < %s
            AND %s IN (0, instrument) AND (%s::uuid IS NULL OR song.name = %s){_FIRST}
            ORDER BY pattern.id DESC LIMIT %s"""
        values = (owner, before or _ID_MAX, instrument, song, song, count)
        return [pattern_of(row) for row in await self._rows(query, values)]

    async def after(
        self, owner: str, instrument: int, last: int, count: int, with_midi: bool
    ) -> list[Pattern]:
        """The owner's patterns, oldest first, from after a number on."""
        query = f"""{_SELECT} WHERE pattern.owner = %s AND pattern.id > %s
            AND %s IN (0, instrument){_FIRST} ORDER BY pattern.id LIMIT %s"""
        found = [
            pattern_of(row) for row in await self._rows(query, (owner, last, instrument, count))
        ]
        if not with_midi:
            return found
        rows = await self._rows(
            "SELECT id, midi FROM pattern WHERE id = ANY(%s)", ([each.id for each in found],)
        )
        midi = {row["id"]: bytes(row["midi"]) for row in rows}
        return [replace(each, midi=midi.get(each.id, b"")) for each in found]

    async def update(self, owner: str, name: uuid.UUID, changes: Changes) -> Pattern | None:
        """Changes what is said of the owner's pattern; None if there is none."""
        async with self._database.connection() as connection:
            song = None if changes.song is None else await own_song(connection, owner, changes.song)
            cursor = await connection.execute(
                """UPDATE pattern SET section = coalesce(%(section)s, section),
                    genre = coalesce(%(genre)s, genre),
                    is_public = coalesce(%(is_public)s, is_public),
                    song = coalesce(%(song)s, song)
                    WHERE owner = %(owner)s AND name = %(name)s""",
                {**vars(changes), "song": song, "owner": owner, "name": name},
            )
            if cursor.rowcount == 0:
                return None
            await _drop_empty_songs(connection, owner)
            return (await _named(connection, owner, [name]))[0]

    async def delete(self, owner: str, name: uuid.UUID) -> bool:
        """Deletes the owner's pattern with all that was made from it; False if there is none."""
        async with self._database.connection() as connection:
            await _lock(connection, owner, name)
            query = "DELETE FROM pattern WHERE owner = %s AND name = %s"
            gone = (await connection.execute(query, (owner, name))).rowcount > 0
            if gone:
                await _drop_empty_songs(connection, owner)
        return gone

    async def sections(self, owner: str, song: uuid.UUID, instrument: int) -> set[int]:
        """Sections of a song of which the owner has a pattern of this instrument."""
        query = """SELECT DISTINCT section FROM pattern JOIN song ON song.id = pattern.song
            WHERE pattern.owner = %s AND song.name = %s AND instrument = %s"""
        return {row["section"] for row in await self._rows(query, (owner, song, instrument))}

    async def counts(self, owner: str) -> dict[str, int]:
        """How many patterns the owner has in each layout, and of each instrument."""
        query = """SELECT layout AS which, count(*) FROM pattern WHERE owner = %s GROUP BY layout
            UNION ALL SELECT instrument::text, count(*) FROM pattern
            WHERE owner = %s AND is_first GROUP BY instrument"""
        return {row["which"]: row["count"] for row in await self._rows(query, (owner, owner))}

    async def serving(self) -> dict[int, Layout]:
        """The layout that patterns of each instrument are searched in."""
        async with self._database.connection() as connection:
            return await serving(connection)

    async def song(self, reader: str, name: uuid.UUID) -> Song | None:
        """A song of which the reader may see something."""
        query = f"{_SONG} WHERE song.name = %(name)s GROUP BY song.id {_SEEN}"
        rows = await self._rows(query, {"reader": reader, "name": name})
        return _song(rows[0]) if rows else None

    async def songs(self, reader: str, text: str, before: int | None, count: int) -> list[Song]:
        """Songs of which the reader may see something, newest first."""
        query = f"""{_SONG} WHERE song.id < %(before)s
            AND position(lower(%(text)s) IN lower(title || E'\n' || artist)) > 0
            GROUP BY song.id {_SEEN} ORDER BY song.id DESC LIMIT %(count)s"""
        values = {"reader": reader, "text": text, "before": before or _ID_MAX, "count": count}
        return [_song(row) for row in await self._rows(query, values)]

    async def _rows(self, query: str, values: Any) -> list[dict[str, Any]]:
        async with self._database.connection() as connection:
            return await (await connection.execute(query, values)).fetchall()


_FIRST = " AND is_first"
COLUMNS = """pattern.id, pattern.name, pattern.owner, pattern.is_public, instrument, layout, given,
    pattern.recording, section, bpm, key, genre, quality_score, audio, start_frame, frame_count,
    has_midi AS midi_available, preview_audio, time_signature, pattern.create_time,
    song.name AS song, song.title, song.artist"""
_FROM = "FROM pattern JOIN song ON song.id = pattern.song"
_SELECT = f"SELECT {COLUMNS} {_FROM}"

_SONG = """SELECT song.*, count(pattern) AS pattern_count,
    (SELECT count(*) FROM recording WHERE (recording.song = song.name
        OR recording.name = song.recording) AND (recording.is_public
        OR recording.owner = %(reader)s)) AS recording_count,
    coalesce(array_agg(DISTINCT section) FILTER (WHERE section <> 0), '{}') AS sections
    FROM song LEFT JOIN pattern ON pattern.song = song.id
    AND is_first AND (pattern.is_public OR pattern.owner = %(reader)s)"""
_SEEN = "HAVING song.owner = %(reader)s OR count(pattern) > 0"


async def _is_new(
    connection: Connection, owner: str, request_id: uuid.UUID, digest: bytes, count: int
) -> bool:
    """Whether this request is made for the first time; others with its id wait here for it."""
    insert = """INSERT INTO pattern_request (owner, request_id, digest, pattern_count)
        VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"""
    values = (owner, request_id, digest, count)
    if (await connection.execute(insert, values)).rowcount:
        return True
    query = "SELECT digest FROM pattern_request WHERE owner = %s AND request_id = %s"
    row = await (await connection.execute(query, (owner, request_id))).fetchone()
    if row is None or bytes(row["digest"]) != digest:
        raise RequestIdReused(str(request_id), "an earlier call")
    return False


async def _named(connection: Connection, owner: str, names: Sequence[uuid.UUID]) -> list[Pattern]:
    query = f"{_SELECT} WHERE pattern.owner = %s AND pattern.name = ANY(%s){_FIRST}"
    rows = await (await connection.execute(query, (owner, list(names)))).fetchall()
    found = {row["name"]: pattern_of(row) for row in rows}
    if len(found) < len(names):
        missing = next(name for name in names if name not in found)
        raise PatternNotFound(f"patterns/{missing}")  # it was deleted since it was indexed
    return [found[name] for name in names]


async def _song_of(connection: Connection, pattern: Pattern, name: uuid.UUID) -> int:
    """The song that a pattern says, or that of its recording, or a new one."""
    if pattern.song is not None:
        return await own_song(connection, pattern.owner, pattern.song)
    if pattern.recording is None:
        return await _new_song(connection, pattern.owner, uuid.uuid5(SONGS, str(name)))
    query = "SELECT title, artist, song FROM recording WHERE owner = %s AND name = %s"
    values = (pattern.owner, pattern.recording)
    row = await (await connection.execute(query, values)).fetchone()
    if row is None:
        raise RecordingUnknown(f"recordings/{pattern.recording}")
    if row["song"] is not None:
        return await own_song(connection, pattern.owner, row["song"])
    said = (row["title"], row["artist"])
    return int((await begun_with(connection, pattern.owner, pattern.recording, *said))["id"])


async def _new_song(connection: Connection, owner: str, name: uuid.UUID) -> int:
    insert = "INSERT INTO song (name, owner, title, artist) VALUES (%s, %s, '', '') RETURNING id"
    row = await (await connection.execute(insert, (name, owner))).fetchone()
    assert row is not None
    return int(row["id"])


async def own_song(connection: Connection, owner: str, name: uuid.UUID) -> int:
    """The number of the owner's song, which stays while the transaction lasts."""
    query = "SELECT id FROM song WHERE owner = %s AND name = %s FOR SHARE"
    row = await (await connection.execute(query, (owner, name))).fetchone()
    if row is None:
        raise SongNotFound(f"songs/{name}")
    return int(row["id"])


async def _drop_empty_songs(connection: Connection, owner: str) -> None:
    """A song that was begun with a pattern ends with its last."""
    await connection.execute(
        """DELETE FROM song WHERE owner = %s
        AND NOT EXISTS (SELECT FROM pattern WHERE pattern.song = song.id)
        AND NOT EXISTS (SELECT FROM recording WHERE recording.song = song.name)""",
        (owner,),
    )


async def _lock(connection: Connection, owner: str, name: uuid.UUID) -> None:
    """Waits for whoever indexes the pattern anew: a statement does not see rows of a later one."""
    query = f"SELECT FROM pattern WHERE owner = %s AND name = %s{_FIRST} FOR UPDATE"
    await connection.execute(query, (owner, name))


async def _copy(
    connection: Connection,
    patterns: Sequence[Pattern],
    names: Sequence[uuid.UUID],
    songs: Sequence[int],
) -> None:
    newer = await renewed_in(connection)
    statement = f"COPY pattern ({', '.join(_COPIED)}) FROM STDIN"
    async with connection.cursor() as cursor, cursor.copy(statement) as rows:
        for pattern, name, song in zip(patterns, names, songs, strict=True):
            given = LAYOUTS[pattern.layout]
            for layout in (given, *(each for each in newer if given.name in each.made_from)):
                row = vars(pattern) | {
                    "name": name,
                    "song": song,
                    "layout": layout.name,
                    "given": np.asarray(pattern.values, "<f4").tobytes(),
                    "direction": told(layout.unit(pattern.values)),
                    "midi": pattern.midi if layout is given else b"",
                    "has_midi": bool(pattern.midi),
                    "is_first": layout is given,
                }
                await rows.write_row([row[column] for column in _COPIED])


_COPIED = (
    "name",
    "owner",
    "is_public",
    "song",
    "instrument",
    "layout",
    "given",
    "direction",
    "recording",
    "section",
    "bpm",
    "key",
    "genre",
    "quality_score",
    "audio",
    "start_frame",
    "frame_count",
    "midi",
    "has_midi",
    "is_first",
    "preview_audio",
    "time_signature",
)


def pattern_of(row: dict[str, Any]) -> Pattern:
    values = tuple(np.frombuffer(row["given"], "<f4").tolist())
    assert len(values) == len(layout_of(row["layout"]).dimensions)
    fields = Pattern.__dataclass_fields__
    return Pattern(values=values, **{name: row[name] for name in row if name in fields})


def _song(row: dict[str, Any]) -> Song:
    fields = {name: row[name] for name in Song.__dataclass_fields__}
    return Song(**fields | {"sections": tuple(sorted(fields["sections"]))})
