"""Uploads on their way in: the rows that say how each stands, and the laws they keep.

* `committed_bytes` never decreases, and counts only what object storage and the row hold.
* One stream may write: each takes a new epoch, and a commit under an older one fails.
* Bytes lie as parts under `uploads/{id}/`, named by offset and epoch, so that two
  streams never write the same object.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale_runtime.database import Connection, Database
from chorale_runtime.objects import Objects

from chorale_ingest.tiers import QuotaExceeded, Tier, over


class UploadNotFound(Exception):
    """No such upload, or not the caller's, or it expired."""

    def __init__(self, upload: str) -> None:
        super().__init__(upload)
        self.upload = upload

    def __str__(self) -> str:
        return f"There is no open upload {self.upload}; start a new one."


class UploadContended(Exception):
    """A newer stream took the upload over."""

    def __init__(self, upload: str) -> None:
        super().__init__(upload)
        self.upload = upload

    def __str__(self) -> str:
        return f"A newer stream writes to {self.upload}; leave it to that one."


class RequestIdReused(Exception):
    """The request id was used before for a different request."""

    def __init__(self, request_id: str, upload: str) -> None:
        super().__init__(request_id, upload)
        self.request_id, self.upload = request_id, upload

    def __str__(self) -> str:
        return f"request_id {self.request_id} started {self.upload} with other parameters."


@dataclass(frozen=True)
class Details:
    """What the caller says of the audio to be."""

    file_name: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    is_private: bool = True
    keep_cover: bool = False


@dataclass(frozen=True)
class Upload:
    """A file on its way in."""

    upload_id: str
    owner: str
    state: str
    size_bytes: int | None
    """None while a stream of unknown length runs."""
    sha256: str
    details: Details
    committed_bytes: int
    epoch: int
    audio: str | None
    """The digest of the stored audio, once finished."""
    expire_time: datetime

    @property
    def name(self) -> str:
        """`uploads/{uuid}`."""
        return upload_name(self.upload_id)

    @property
    def is_finished(self) -> bool:
        """Whether it became audio."""
        return self.audio is not None


@dataclass(frozen=True)
class Part:
    """A stored piece of an upload."""

    offset_bytes: int
    size_bytes: int
    key: str


def upload_name(upload_id: str) -> str:
    """The resource name of an upload."""
    return f"uploads/{upload_id}"


def prefix(upload_id: str) -> str:
    """Where an upload's parts lie."""
    return f"uploads/{upload_id}/"


def part_key(upload: Upload, offset_bytes: int) -> str:
    """Where the part that begins there lies, as written under the upload's present epoch."""
    return f"{prefix(upload.upload_id)}{offset_bytes:015d}-{upload.epoch}"


class Uploads:
    """Reads and writes the rows."""

    def __init__(self, database: Database, objects: Objects, lifetime_seconds: int) -> None:
        self._database, self._objects = database, objects
        self._lifetime_seconds = lifetime_seconds

    async def start(
        self,
        owner: str,
        tier: Tier,
        request_id: str,
        request_digest: bytes,
        size_bytes: int | None,
        sha256: str,
        details: Details,
    ) -> Upload:
        """Open an upload, or return the one that this request id opened."""
        async with self._database.connection() as connection:
            # Starts of one owner go one after another, so that the quota is exact.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (owner,)
            )
            known = await self._of_request(connection, owner, request_id)
            if known is not None:
                if known["request_digest"] != request_digest:
                    raise RequestIdReused(request_id, upload_name(str(known["upload_id"])))
                return _upload(known)
            used = await _uploads_today(connection, owner)
            if over(used, tier.uploads_per_day):
                raise QuotaExceeded("uploads_per_day", tier.name, tier.uploads_per_day)
            # What this id opened before and is dead or expired gives the id up.
            await connection.execute(
                """UPDATE upload SET request_id = gen_random_uuid()
                   WHERE owner = %s AND request_id = %s""",
                (owner, request_id),
            )
            row = await (
                await connection.execute(
                    _INSERT,
                    {
                        "upload_id": uuid.uuid4(),
                        "owner": owner,
                        "request_id": request_id,
                        "request_digest": request_digest,
                        "size_bytes": size_bytes,
                        "sha256": sha256,
                        "file_name": details.file_name,
                        "title": details.title,
                        "tags": list(details.tags),
                        "privacy": "private" if details.is_private else "public",
                        "keep_cover": details.keep_cover,
                        "lifetime": self._lifetime_seconds,
                    },
                )
            ).fetchone()
        assert row is not None  # RETURNING of one row
        return _upload(row)

    async def by_request(self, owner: str, request_id: str) -> Upload | None:
        """The upload that a request id opened, if any."""
        async with self._database.connection() as connection:
            row = await self._of_request(connection, owner, request_id)
        return None if row is None else _upload(row)

    async def get(self, owner: str, upload_id: str) -> Upload:
        """How an upload stands."""
        query = "SELECT * FROM known_upload WHERE upload_id = %s AND owner = %s"
        return await self._one(query, (upload_id, owner), UploadNotFound(upload_name(upload_id)))

    async def take(self, owner: str, upload_id: str) -> Upload:
        """Take an open upload over from whoever writes to it; a finished one is as it is."""
        query = """UPDATE open_upload SET epoch = epoch + 1
            WHERE upload_id = %s AND owner = %s RETURNING *"""
        try:
            return await self._one(
                query, (upload_id, owner), UploadNotFound(upload_name(upload_id))
            )
        except UploadNotFound:
            found = await self.get(owner, upload_id)
            if found.is_finished:
                return found
            raise

    async def commit(self, upload: Upload, part: Part) -> None:
        """Make a stored part count, unless a newer stream took over."""
        query = """WITH moved AS (
                UPDATE open_upload SET committed_bytes = committed_bytes + %(size_bytes)s
                WHERE upload_id = %(upload_id)s AND epoch = %(epoch)s
                    AND committed_bytes = %(offset_bytes)s
                RETURNING upload_id)
            INSERT INTO part (upload_id, offset_bytes, size_bytes, key)
            SELECT upload_id, %(offset_bytes)s, %(size_bytes)s, %(key)s FROM moved
            RETURNING 1"""
        values = {"upload_id": upload.upload_id, "epoch": upload.epoch, **vars(part)}
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, values)
            if await cursor.fetchone() is not None:
                return
        raise await self._why_not(upload)

    async def check(self, upload: Upload) -> None:
        """Raise unless this stream is still the one that may write."""
        query = "SELECT 1 FROM open_upload WHERE upload_id = %s AND epoch = %s"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (upload.upload_id, upload.epoch))
            if await cursor.fetchone() is not None:
                return
        raise await self._why_not(upload)

    async def sized(self, upload: Upload, size_bytes: int) -> Upload:
        """Say how long a stream of unknown length turned out to be."""
        query = "UPDATE upload SET size_bytes = %s WHERE upload_id = %s RETURNING *"
        values = (size_bytes, upload.upload_id)
        return await self._one(query, values, UploadNotFound(upload.name))

    async def parts(self, upload_id: str) -> list[Part]:
        """The parts that count, in order."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                """SELECT offset_bytes, size_bytes, key FROM part WHERE upload_id = %s
                   ORDER BY offset_bytes""",
                (upload_id,),
            )
            return [Part(**row) for row in await cursor.fetchall()]

    async def finish(self, upload: Upload, sha256: str) -> None:
        """Note what became of it, and count it towards the day."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                """UPDATE upload SET state = 'finished', audio = %s
                   WHERE upload_id = %s AND state = 'open' RETURNING 1""",
                (sha256, upload.upload_id),
            )
            if await cursor.fetchone() is not None:
                await connection.execute(
                    """INSERT INTO usage (owner, day, uploads)
                       VALUES (%s, (now() AT TIME ZONE 'utc')::date, 1)
                       ON CONFLICT (owner, day) DO UPDATE SET uploads = usage.uploads + 1""",
                    (upload.owner,),
                )

    async def kill(self, upload_id: str) -> None:
        """End an upload that will never become audio."""
        async with self._database.connection() as connection:
            await connection.execute(
                """UPDATE upload SET state = 'dead', epoch = epoch + 1
                   WHERE upload_id = %s AND state = 'open'""",
                (upload_id,),
            )

    async def clean(self, upload_id: str) -> None:
        """Remove what an ended upload staged."""
        await self._objects.delete_prefix(prefix(upload_id))
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM part WHERE upload_id = %s", (upload_id,))
            await connection.execute(
                "UPDATE upload SET staged = false WHERE upload_id = %s", (upload_id,)
            )

    async def ended(self, count: int) -> list[str]:
        """Uploads whose staged bytes nobody needs any more."""
        query = """SELECT upload_id FROM upload
            WHERE staged AND (state <> 'open' OR expire_time <= now()) LIMIT %s"""
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (count,))
            return [str(row["upload_id"]) for row in await cursor.fetchall()]

    async def forget(self) -> None:
        """Delete the rows of uploads that are over and clean."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM upload WHERE NOT staged AND expire_time <= now()")
            await connection.execute(
                "DELETE FROM usage WHERE day < (now() AT TIME ZONE 'utc')::date - 1"
            )

    async def known(self, upload_ids: Sequence[str]) -> set[str]:
        """Those of the ids that still have a row."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT upload_id FROM upload WHERE upload_id = ANY(%s::uuid[])",
                (list(upload_ids),),
            )
            return {str(row["upload_id"]) for row in await cursor.fetchall()}

    async def today(self, owner: str) -> int:
        """How many uploads count towards the owner's day: finished, and still open."""
        async with self._database.connection() as connection:
            return await _uploads_today(connection, owner)

    async def _of_request(
        self, connection: Connection, owner: str, request_id: str
    ) -> dict[str, Any] | None:
        cursor = await connection.execute(
            "SELECT * FROM known_upload WHERE owner = %s AND request_id = %s",
            (owner, request_id),
        )
        return await cursor.fetchone()

    async def _one(self, query: str, values: Sequence[object], missing: Exception) -> Upload:
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        if row is None:
            raise missing
        return _upload(row)

    async def _why_not(self, upload: Upload) -> Exception:
        try:
            await self.get(upload.owner, upload.upload_id)
        except UploadNotFound as gone:
            return gone
        return UploadContended(upload.name)


_INSERT = """
INSERT INTO upload (upload_id, owner, request_id, request_digest, size_bytes, sha256, file_name,
    title, tags, privacy, keep_cover, expire_time)
VALUES (%(upload_id)s, %(owner)s, %(request_id)s, %(request_digest)s, %(size_bytes)s, %(sha256)s,
    %(file_name)s, %(title)s, %(tags)s, %(privacy)s, %(keep_cover)s,
    now() + %(lifetime)s * interval '1 second')
RETURNING *
"""


async def _uploads_today(connection: Connection, owner: str) -> int:
    row = await (
        await connection.execute(
            """SELECT coalesce((SELECT uploads FROM usage WHERE owner = %(owner)s
                    AND day = (now() AT TIME ZONE 'utc')::date), 0)
                + (SELECT count(*) FROM open_upload WHERE owner = %(owner)s) AS used""",
            {"owner": owner},
        )
    ).fetchone()
    assert row is not None  # one row always
    return int(row["used"])


def _upload(row: dict[str, Any]) -> Upload:
    return Upload(
        upload_id=str(row["upload_id"]),
        owner=row["owner"],
        state=row["state"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        details=Details(
            file_name=row["file_name"],
            title=row["title"],
            tags=tuple(row["tags"]),
            is_private=row["privacy"] == "private",
            keep_cover=row["keep_cover"],
        ),
        committed_bytes=row["committed_bytes"],
        epoch=row["epoch"],
        audio=row["audio"],
        expire_time=row["expire_time"],
    )
