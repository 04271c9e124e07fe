"""The catalogue: which sounds are stored, and whose audio they are.

Object keys follow from the digest, so rows and objects may be written in any order. One
rule keeps them together: whoever claims a sound or collects its objects holds the
digest's lock, and whoever claims looks whether the objects are there.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale_runtime.database import Connection, Database
from chorale_runtime.objects import Objects

from chorale_ingest.pages import Filter
from chorale_ingest.samples import Encoding, Layout

# What is put but not claimed within this time was put by someone who died.
PLACING_HOURS = 6
DELETIONS_LOCK = 0x64656C657465  # "delete": makes sequence numbers appear in order


class AudioNotFound(Exception):
    """No such audio, or not the caller's."""

    def __init__(self, audio: str) -> None:
        super().__init__(audio)
        self.audio = audio
        self.missing = audio

    def __str__(self) -> str:
        return f"You have no audio {self.audio}. Upload it, or ask its owner to make it public."


class AudioExists(Exception):
    """The caller already has this audio."""

    def __init__(self, audio: str) -> None:
        super().__init__(audio)
        self.audio = audio

    def __str__(self) -> str:
        return f"You already have {self.audio}; nothing needs to be uploaded."


class ObjectsVanished(Exception):
    """The objects of a sound were collected before it was claimed; place them again."""


@dataclass(frozen=True)
class Sound:
    """Stored bytes and what they are; nobody's."""

    sha256: str
    size_bytes: int
    container: str
    codec: str
    encoding: Encoding
    sample_rate_hz: int
    channel_count: int
    frame_count: int
    bit_depth: int
    bit_rate_bps: int
    sample_peak: float
    embedded_tags: dict[str, str]
    warnings: tuple[str, ...]
    has_original: bool

    @property
    def layout(self) -> Layout:
        """How frames lie in its PCM object."""
        return Layout(self.encoding, self.channel_count)

    @property
    def duration_seconds(self) -> float:
        """Its length."""
        return self.frame_count / self.sample_rate_hz


@dataclass(frozen=True)
class Entry:
    """One owner's audio."""

    owner: str
    sound: Sound
    file_name: str
    title: str
    tags: tuple[str, ...]
    is_private: bool
    create_time: datetime
    expire_time: datetime | None
    parents: tuple[str, ...]
    provenance: bytes | None
    sequence: int

    @property
    def name(self) -> str:
        """`audio/{sha256}`."""
        return audio_name(self.sound.sha256)


@dataclass(frozen=True)
class Claim:
    """What an owner says of audio it stores."""

    owner: str
    file_name: str
    title: str
    tags: tuple[str, ...]
    is_private: bool
    parents: tuple[str, ...] = ()
    provenance: bytes | None = None


@dataclass(frozen=True)
class Stored:
    """How much an owner holds."""

    audio_count: int
    kept_count: int
    size_bytes: int


@dataclass(frozen=True)
class Deletion:
    """Audio that is gone for an owner."""

    sequence: int
    sha256: str
    owner: str
    last: bool


def audio_name(sha256: str) -> str:
    """The resource name of a digest."""
    return f"audio/{sha256}"


def digest_in(name: str) -> str:
    """The digest in a resource name."""
    return name.removeprefix("audio/")


def original_key(sha256: str) -> str:
    """Where the bytes lie as they came."""
    return f"audio/{sha256}"


def pcm_key(sha256: str) -> str:
    """Where canonical PCM lies."""
    return f"pcm/{sha256}"


def overview_key(sha256: str) -> str:
    """Where the waveform overview lies."""
    return f"overview/{sha256}"


def object_keys(sha256: str) -> tuple[str, ...]:
    """Everything that is stored of a sound."""
    return original_key(sha256), pcm_key(sha256), overview_key(sha256)


# The owner's columns last: of two columns of one name the last is kept.
_SELECT = "SELECT sound.*, audio.* FROM audio JOIN sound USING (sha256)"
_ALIVE = "(expire_time IS NULL OR expire_time > now())"


class Catalogue:
    """Reads and writes the rows. Owners are arguments: every query has one."""

    def __init__(self, database: Database, objects: Objects, lifetime_seconds: int) -> None:
        self._database, self._objects = database, objects
        self._lifetime_seconds = lifetime_seconds

    async def find(self, owner: str, sha256: str) -> Entry:
        """The owner's audio, or somebody's public audio, of this digest."""
        query = f"""{_SELECT} WHERE audio.sha256 = %s AND {_ALIVE} AND (owner = %s OR privacy = 'public')
            ORDER BY owner = %s DESC, audio.sequence LIMIT 1"""  # noqa: S608 - constants
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (sha256, owner, owner))).fetchone()
        if row is None:
            raise AudioNotFound(audio_name(sha256))
        return _entry(row)

    async def owned(self, owner: str, digests: Sequence[str]) -> set[str]:
        """Those of the digests that the owner has."""
        query = f"SELECT sha256 FROM audio WHERE owner = %s AND sha256 = ANY(%s) AND {_ALIVE}"  # noqa: S608
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (owner, list(digests)))
            return {row["sha256"] for row in await cursor.fetchall()}

    async def page(self, owner: str, wanted: Filter, before: int | None, count: int) -> list[Entry]:
        """The owner's audio, newest first, from before a sequence number on."""
        conditions, values = ["owner = %s", _ALIVE], [owner]
        for condition, value in _conditions(wanted, before):
            conditions.append(condition)
            values.append(value)
        query = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY audio.sequence DESC LIMIT %s"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (*values, count))  # type: ignore[arg-type]
            return [_entry(row) for row in await cursor.fetchall()]

    async def sound(self, sha256: str) -> Sound | None:
        """What is stored under a digest, whoever owns it."""
        async with self._database.connection() as connection:
            row = await (
                await connection.execute("SELECT * FROM sound WHERE sha256 = %s", (sha256,))
            ).fetchone()
        return None if row is None else _sound(row)

    async def placing(self, sha256: str) -> None:
        """Note that objects are about to be put, so that they are collected if nobody claims."""
        async with self._database.connection() as connection:
            await _leave(connection, [sha256], f"{PLACING_HOURS} hours")

    async def claim(self, sound: Sound, claim: Claim) -> Entry:
        """Make a sound the owner's audio; storing again what one has renews its lifetime."""
        async with self._database.connection() as connection:
            await _lock(connection, sound.sha256)
            keys = object_keys(sound.sha256)
            for key in keys if sound.has_original else keys[1:]:
                if not await self._objects.exists(key):
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
                    "lifetime": self._lifetime_seconds,
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
        query = f"""UPDATE audio SET title = coalesce(%s, title), tags = coalesce(%s, tags),
            privacy = coalesce(%s, privacy) WHERE owner = %s AND sha256 = %s AND {_ALIVE}
            RETURNING 1"""  # noqa: S608
        values = (title, None if tags is None else list(tags), privacy, owner, sha256)
        return await self._changed(query, values, owner, sha256)

    async def keep(self, owner: str, sha256: str, kept: bool) -> Entry:
        """Keep audio past its expiry, or let it expire a full lifetime from now."""
        query = f"""UPDATE audio SET expire_time = CASE WHEN %s THEN NULL
                ELSE now() + %s * interval '1 second' END
            WHERE owner = %s AND sha256 = %s AND {_ALIVE} RETURNING 1"""  # noqa: S608
        values = (kept, self._lifetime_seconds, owner, sha256)
        return await self._changed(query, values, owner, sha256)

    async def _changed(
        self, query: str, values: Sequence[object], owner: str, sha256: str
    ) -> Entry:
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, values)  # type: ignore[arg-type]
            if await cursor.fetchone() is None:
                raise AudioNotFound(audio_name(sha256))
        return await self.find(owner, sha256)

    async def stored(self, owner: str) -> Stored:
        """How much the owner holds."""
        query = f"""SELECT count(*) AS audio_count,
                count(*) FILTER (WHERE expire_time IS NULL) AS kept_count,
                coalesce(sum(size_bytes), 0)::bigint AS size_bytes
            FROM audio JOIN sound USING (sha256) WHERE owner = %s AND {_ALIVE}"""  # noqa: S608
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner,))).fetchone()
        assert row is not None  # noqa: S101 - an aggregate has one row
        return Stored(**row)

    async def delete(self, owner: str, sha256: str) -> list[str]:
        """Delete the owner's audio and all of the owner's that was made from it."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_DERIVED, {"owner": owner, "sha256": sha256})
            digests = [row["sha256"] for row in await cursor.fetchall()]
            if not digests:
                raise AudioNotFound(audio_name(sha256))
            await _forget(connection, [(owner, digest) for digest in digests])
        for digest in digests:
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
            await _lock(connection, sha256)
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
                for key in object_keys(sha256):
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


_INSERT_SOUND = """
INSERT INTO sound (sha256, size_bytes, container, codec, encoding, sample_rate_hz, channel_count,
    frame_count, bit_depth, bit_rate_bps, sample_peak, embedded_tags, warnings, has_original)
VALUES (%(sha256)s, %(size_bytes)s, %(container)s, %(codec)s, %(encoding)s, %(sample_rate_hz)s,
    %(channel_count)s, %(frame_count)s, %(bit_depth)s, %(bit_rate_bps)s, %(sample_peak)s,
    %(embedded_tags)s, %(warnings)s, %(has_original)s)
ON CONFLICT (sha256) DO NOTHING
"""

_INSERT_AUDIO = """
INSERT INTO audio (owner, sha256, file_name, title, tags, privacy, parents, provenance, expire_time)
VALUES (%(owner)s, %(sha256)s, %(file_name)s, %(title)s, %(tags)s, %(privacy)s, %(parents)s,
    %(provenance)s, now() + %(lifetime)s * interval '1 second')
ON CONFLICT (owner, sha256) DO UPDATE SET expire_time = CASE
    WHEN audio.expire_time IS NULL THEN NULL
    ELSE greatest(audio.expire_time, excluded.expire_time) END
"""

_DERIVED = """
WITH RECURSIVE gone AS (
    SELECT sha256 FROM audio WHERE owner = %(owner)s AND sha256 = %(sha256)s
    UNION
    SELECT made.sha256 FROM audio AS made JOIN gone
        ON made.owner = %(owner)s AND made.parents @> ARRAY[gone.sha256]
)
SELECT sha256 FROM gone
"""


async def _lock(connection: Connection, sha256: str) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (sha256,))


async def _leave(connection: Connection, digests: Iterable[str], delay: str) -> None:
    await connection.execute(
        """INSERT INTO garbage SELECT digest, now() + %s::interval FROM unnest(%s::text[]) AS digest
           ON CONFLICT (sha256) DO UPDATE
           SET not_before = greatest(garbage.not_before, excluded.not_before)""",
        (delay, sorted(set(digests))),
    )


async def _forget(connection: Connection, gone: Sequence[tuple[str, str]]) -> None:
    """Delete audio rows, and sounds that were somebody's last; tell the watchers."""
    # In one order everywhere, since each of these locks may wait for another's holder.
    for digest in sorted({digest for _, digest in gone}):
        await _lock(connection, digest)
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
    await _leave(connection, [row["sha256"] for row in await cursor.fetchall()], "0 hours")


def _conditions(wanted: Filter, before: int | None) -> Iterable[tuple[str, Any]]:
    if before is not None:
        yield "audio.sequence < %s", before
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


def _sound(row: dict[str, Any]) -> Sound:
    names = Sound.__dataclass_fields__
    fields = {name: row[name] for name in names}
    fields["encoding"] = Encoding(row["encoding"])
    fields["warnings"] = tuple(row["warnings"])
    return Sound(**fields)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        owner=row["owner"],
        sound=_sound(row),
        file_name=row["file_name"],
        title=row["title"],
        tags=tuple(row["tags"]),
        is_private=row["privacy"] == "private",
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        parents=tuple(row["parents"]),
        provenance=row["provenance"],
        sequence=row["sequence"],
    )
