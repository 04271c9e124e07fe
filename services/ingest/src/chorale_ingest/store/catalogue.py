"""The catalogue: which sounds are stored, and whose audio they are.

One rule keeps rows and objects together: whoever claims a sound or collects its objects
holds the digest's lock, and whoever claims looks whether the objects are there.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

from chorale_runtime.database import Connection, Database
from chorale_runtime.objects import Objects
from psycopg.sql import SQL

from chorale_ingest.filter import Filter
from chorale_ingest.samples import Encoding
from chorale_ingest.sounds import (
    AudioNotFound,
    Claim,
    Entry,
    ObjectsVanished,
    Sound,
    Stored,
    audio_name,
    object_keys,
)

# What is put but not claimed within this time was put by someone who died.
PLACING = "6 hours"
# A claim holds a connection while it looks at the storage, which answers late under a hundred
# uploads: this leaves the other connections to calls that only read a row.
CLAIMS_AT_ONCE = 3


class Catalogue:
    """Reads and writes the rows. Owners are arguments: every query has one."""

    def __init__(self, database: Database, objects: Objects, lifetime_seconds: int) -> None:
        self._database, self._objects = database, objects
        self._lifetime_seconds = lifetime_seconds
        self._claims = asyncio.Semaphore(CLAIMS_AT_ONCE)

    async def find(self, owner: str, sha256: str) -> Entry:
        """The owner's audio, or somebody's public audio, of this digest."""
        query = """SELECT * FROM entry WHERE sha256 = %s AND (owner = %s OR privacy = 'public')
            ORDER BY owner = %s DESC, sequence LIMIT 1"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (sha256, owner, owner))).fetchone()
        if row is None:
            raise AudioNotFound(audio_name(sha256))
        return _entry(row)

    async def owned(self, owner: str, digests: Sequence[str]) -> set[str]:
        """Those of the digests that the owner has."""
        query = "SELECT sha256 FROM living WHERE owner = %s AND sha256 = ANY(%s)"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (owner, list(digests)))
            return {row["sha256"] for row in await cursor.fetchall()}

    async def page(self, owner: str, wanted: Filter, before: int | None, count: int) -> list[Entry]:
        """The owner's audio, newest first, from before a sequence number on."""
        found = list(_conditions(wanted, before))
        conditions = SQL(" AND ").join([SQL("owner = %s"), *(SQL(each) for each, _ in found)])
        values = (owner, *(value for _, value in found), count)
        query = SQL("SELECT * FROM entry WHERE {} ORDER BY sequence DESC LIMIT %s").format(
            conditions
        )
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, values)
            return [_entry(row) for row in await cursor.fetchall()]

    async def sound(self, sha256: str) -> Sound | None:
        """What is stored under a digest, whoever owns it."""
        async with self._database.connection() as connection:
            row = await (
                await connection.execute("SELECT * FROM sound WHERE sha256 = %s", (sha256,))
            ).fetchone()
        return None if row is None else sound_of(row)

    async def placing(self, sha256: str) -> None:
        """Note that objects are about to be put, so that they are collected if nobody claims."""
        async with self._database.connection() as connection:
            await leave(connection, [sha256], PLACING)

    async def claim(self, sound: Sound, claim: Claim) -> Entry:
        """Make a sound the owner's audio; storing again what one has renews its lifetime."""
        async with self._claims, self._database.connection() as connection:
            await lock(connection, sound.sha256)
            keys = object_keys(sound.sha256)[0 if sound.has_original else 1 :]
            if not all(await asyncio.gather(*(self._objects.exists(key) for key in keys))):
                raise ObjectsVanished
            await connection.execute(_INSERT_SOUND, _sound_values(sound))
            await connection.execute(
                _INSERT_AUDIO,
                {
                    "owner": claim.owner,
                    "sha256": sound.sha256,
                    "file_name": claim.file_name,
                    "title": claim.title,
                    "tags": list(claim.tags),
                    "privacy": "private" if claim.is_private else "public",
                    "parents": list(claim.parents),
                    "provenance": claim.provenance,
                    "parent_start_frame": claim.parent_start_frame,
                    "parent_frame_count": claim.parent_frame_count,
                    "lifetime": self._lifetime_seconds,
                    "cover_type": claim.cover_type,
                },
            )
            await connection.execute("DELETE FROM garbage WHERE sha256 = %s", (sound.sha256,))
        return await self.find(claim.owner, sound.sha256)

    async def update(
        self,
        owner: str,
        sha256: str,
        *,
        title: str | None = None,
        tags: Sequence[str] | None = None,
        is_private: bool | None = None,
    ) -> Entry:
        """Change what the owner says of audio; None leaves it."""
        privacy = None if is_private is None else ("private" if is_private else "public")
        query = """UPDATE living SET title = coalesce(%s, title), tags = coalesce(%s, tags),
            privacy = coalesce(%s, privacy) WHERE owner = %s AND sha256 = %s RETURNING 1"""
        values = (title, None if tags is None else list(tags), privacy, owner, sha256)
        return await self._changed(query, values, owner, sha256)

    async def keep(self, owner: str, sha256: str, kept: bool) -> Entry:
        """Keep audio past its expiry, or let it expire a full lifetime from now."""
        query = """UPDATE living SET expire_time = CASE WHEN %s THEN NULL
                ELSE now() + %s * interval '1 second' END
            WHERE owner = %s AND sha256 = %s RETURNING 1"""
        values = (kept, self._lifetime_seconds, owner, sha256)
        return await self._changed(query, values, owner, sha256)

    async def _changed(
        self, query: str, values: Sequence[object], owner: str, sha256: str
    ) -> Entry:
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, values)
            if await cursor.fetchone() is None:
                raise AudioNotFound(audio_name(sha256))
        return await self.find(owner, sha256)

    async def stored(self, owner: str) -> Stored:
        """How much the owner holds."""
        query = """SELECT count(*) AS audio_count,
                count(*) FILTER (WHERE expire_time IS NULL) AS kept_count,
                coalesce(sum(size_bytes), 0)::bigint AS size_bytes
            FROM entry WHERE owner = %s"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner,))).fetchone()
        assert row is not None  # an aggregate has one row
        return Stored(**row)


_INSERT_SOUND = """
INSERT INTO sound (sha256, size_bytes, container, codec, encoding, sample_rate_hz, channel_count,
    frame_count, bit_depth, bit_rate_bps, sample_peak, embedded_tags, warnings, has_original)
VALUES (%(sha256)s, %(size_bytes)s, %(container)s, %(codec)s, %(encoding)s, %(sample_rate_hz)s,
    %(channel_count)s, %(frame_count)s, %(bit_depth)s, %(bit_rate_bps)s, %(sample_peak)s,
    %(embedded_tags)s, %(warnings)s, %(has_original)s)
ON CONFLICT (sha256) DO NOTHING
"""

_INSERT_AUDIO = """
INSERT INTO audio (owner, sha256, file_name, title, tags, privacy, parents, provenance,
    parent_start_frame, parent_frame_count, cover_type, expire_time)
VALUES (%(owner)s, %(sha256)s, %(file_name)s, %(title)s, %(tags)s, %(privacy)s, %(parents)s,
    %(provenance)s, %(parent_start_frame)s, %(parent_frame_count)s, %(cover_type)s,
    now() + %(lifetime)s * interval '1 second')
ON CONFLICT (owner, sha256) DO UPDATE SET expire_time = CASE
    WHEN audio.expire_time IS NULL THEN NULL
    ELSE greatest(audio.expire_time, excluded.expire_time) END,
    cover_type = coalesce(nullif(excluded.cover_type, ''), audio.cover_type)
"""


async def lock(connection: Connection, sha256: str) -> None:
    """Hold a digest's lock until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (sha256,))


async def leave(connection: Connection, digests: Iterable[str], delay: str) -> None:
    """Note that objects of these digests may be left over when the delay has passed."""
    await connection.execute(
        """INSERT INTO garbage SELECT digest, now() + %s::interval FROM unnest(%s::text[]) AS digest
           ON CONFLICT (sha256) DO UPDATE
           SET not_before = greatest(garbage.not_before, excluded.not_before)""",
        (delay, sorted(set(digests))),
    )


def _conditions(wanted: Filter, before: int | None) -> Iterable[tuple[LiteralString, Any]]:
    if before is not None:
        yield "sequence < %s", before
    if wanted.tags:
        yield "tags @> %s", list(wanted.tags)
    if wanted.text:
        escaped = wanted.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        yield "title || ' ' || file_name ILIKE %s", f"%{escaped}%"
    if wanted.parent:
        yield "parents @> %s", [wanted.parent]
    if wanted.kept:
        yield "expire_time IS NULL AND %s", True


def _sound_values(sound: Sound) -> dict[str, object]:
    return {
        **vars(sound),
        "encoding": sound.encoding.value,
        "embedded_tags": json.dumps(sound.embedded_tags),
        "warnings": list(sound.warnings),
    }


def sound_of(row: dict[str, Any]) -> Sound:
    """What a row says of a sound."""
    names = Sound.__dataclass_fields__
    fields = {name: row[name] for name in names}
    fields["encoding"] = Encoding(row["encoding"])
    fields["warnings"] = tuple(row["warnings"])
    return Sound(**fields)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        owner=row["owner"],
        sound=sound_of(row),
        file_name=row["file_name"],
        title=row["title"],
        tags=tuple(row["tags"]),
        is_private=row["privacy"] == "private",
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        parents=tuple(row["parents"]),
        provenance=row["provenance"],
        sequence=row["sequence"],
        parent_start_frame=row["parent_start_frame"],
        parent_frame_count=row["parent_frame_count"],
        cover_type=row["cover_type"],
    )
