"""Files of models on their way in: resumable by position, checked by digest, one writer each."""

import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale_runtime.database import Database
from chorale_runtime.objects import Objects

_PREFIX = "modelUploads/"
_CHUNK_BYTES = 1 << 20


class UploadNotFound(Exception):
    """No such upload, or not the caller's, or forgotten."""

    def __init__(self, upload: str) -> None:
        super().__init__(upload)
        self.upload = upload

    def __str__(self) -> str:
        return f"There is no upload {self.upload!r}, or it is not yours, or it expired."


class UploadGap(Exception):
    """A chunk begins past what is stored."""

    def __init__(self, upload: str, offset_bytes: int, committed_bytes: int) -> None:
        super().__init__(upload, offset_bytes, committed_bytes)
        self.upload = upload
        self.offset_bytes, self.committed_bytes = offset_bytes, committed_bytes

    def __str__(self) -> str:
        return f"The chunk begins at {self.offset_bytes}; {self.committed_bytes} bytes are stored."


class UploadContended(Exception):
    """Another stream took the upload over."""

    def __init__(self, upload: str) -> None:
        super().__init__(upload)
        self.upload = upload

    def __str__(self) -> str:
        return f"Another stream writes to {self.upload} now."


class UploadSizeMismatch(Exception):
    """More or fewer bytes than announced."""

    def __init__(self, upload: str, size_bytes: int, committed_bytes: int) -> None:
        super().__init__(upload, size_bytes, committed_bytes)
        self.upload = upload
        self.size_bytes, self.committed_bytes = size_bytes, committed_bytes

    def __str__(self) -> str:
        return f"{self.size_bytes} bytes were announced; there are {self.committed_bytes}."


class ChecksumMismatch(Exception):
    """A chunk or the whole differs from its digest."""

    def __init__(self, of: str, expected: str, found: str) -> None:
        super().__init__(of, expected, found)
        self.of, self.expected, self.found = of, expected, found

    def __str__(self) -> str:
        return f"The digest of the {self.of} is {self.found}; {self.expected} was announced."


class UploadRequestReused(Exception):
    """The request_id was used for another file."""

    def __init__(self, request_id: str, upload: str) -> None:
        super().__init__(request_id, upload)
        self.request_id, self.upload = request_id, upload

    def __str__(self) -> str:
        return f"The request_id {self.request_id!r} was used for {self.upload}, another file."


class UploadsFull(Exception):
    """The owner has as many unfinished bytes on their way as allowed."""

    def __init__(self, quota: str, limit: int) -> None:
        super().__init__(quota, limit)
        self.quota, self.limit = quota, limit

    def __str__(self) -> str:
        return f"The quota {self.quota} of {self.limit} is used up."


@dataclass(frozen=True)
class ModelUpload:
    """How an upload stands."""

    id: uuid.UUID
    file_name: str
    sha256: str
    size_bytes: int
    committed_bytes: int
    finished: bool
    writer: int
    expire_time: datetime

    @property
    def name(self) -> str:
        """Its name on the wire."""
        return f"{_PREFIX}{self.id}"


def model_key(sha256: str) -> str:
    """Where a file of a model lies in the mesh's bucket."""
    return f"models/{sha256}"


class ModelUploads:
    """Keeps uploads. Owners are arguments: every query has one."""

    def __init__(self, database: Database, objects: Objects, bytes_max: int) -> None:
        self._database, self._objects, self._bytes_max = database, objects, bytes_max

    async def start(
        self, owner: str, request_id: str, file_name: str, sha256: str, size_bytes: int
    ) -> ModelUpload:
        """Opens an upload, or returns the one that this request opened before."""
        await self._sweep(owner)
        values = owner, request_id, file_name, sha256, size_bytes
        async with self._database.connection() as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"uploads {owner}",)
            )
            query = "SELECT * FROM model_upload WHERE owner = %s AND request_id = %s"
            row = await (await connection.execute(query, values[:2])).fetchone()
            if row is None:
                query = """SELECT coalesce(sum(size_bytes), 0) AS total FROM model_upload
                    WHERE owner = %s AND expire_time > now()"""
                held = await (await connection.execute(query, (owner,))).fetchone()
                assert held is not None  # an aggregate has one row
                if held["total"] + size_bytes > self._bytes_max:
                    raise UploadsFull("model_upload_bytes", self._bytes_max)
                query = """INSERT INTO model_upload
                    (owner, request_id, file_name, sha256, size_bytes, expire_time)
                    VALUES (%s, %s, %s, %s, %s, now() + interval '24 hours') RETURNING *"""
                row = await (await connection.execute(query, values)).fetchone()
        upload = _upload(row)
        if (upload.file_name, upload.sha256, upload.size_bytes) != values[2:]:
            raise UploadRequestReused(request_id, upload.name)
        return upload

    async def find(self, owner: str, name: str) -> ModelUpload:
        """How an upload stands; raises `UploadNotFound`."""
        query = """SELECT * FROM model_upload
            WHERE owner = %s AND id = %s AND expire_time > now()"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner, _identity(name)))).fetchone()
        if row is None:
            raise UploadNotFound(name)
        return _upload(row)

    async def take(self, owner: str, name: str) -> ModelUpload:
        """Makes the caller the only writer."""
        query = """UPDATE model_upload SET writer = writer + 1
            WHERE owner = %s AND id = %s AND expire_time > now() RETURNING *"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner, _identity(name)))).fetchone()
        if row is None:
            raise UploadNotFound(name)
        return _upload(row)

    async def append(self, upload: ModelUpload, data: bytes) -> ModelUpload:
        """Stores the next bytes; raises `UploadContended` and `UploadSizeMismatch`."""
        end = upload.committed_bytes + len(data)
        if end > upload.size_bytes or upload.finished:
            raise UploadSizeMismatch(upload.name, upload.size_bytes, end)
        # Two writers may store the same place; only the one whose row is changed counts.
        await self._objects.put(_part(upload, upload.committed_bytes, upload.writer), data)
        query = """WITH moved AS (
                UPDATE model_upload SET committed_bytes = %(end)s
                WHERE id = %(id)s AND writer = %(writer)s AND committed_bytes = %(start)s
                RETURNING *)
            , part AS (
                INSERT INTO model_part SELECT id, %(start)s, writer FROM moved)
            SELECT * FROM moved"""
        values = {
            "id": upload.id,
            "writer": upload.writer,
            "start": upload.committed_bytes,
            "end": end,
        }
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        if row is None:
            raise UploadContended(upload.name)
        return _upload(row)

    async def finish(self, upload: ModelUpload) -> ModelUpload:
        """Checks the whole and keeps it under its digest; finishing twice is well."""
        if upload.finished:
            return upload
        if upload.committed_bytes != upload.size_bytes:
            raise UploadSizeMismatch(upload.name, upload.size_bytes, upload.committed_bytes)
        digest = hashlib.sha256()
        async with self._objects.writer(_whole(upload)) as writer:
            async for data in self._bytes(upload):
                digest.update(data)
                await writer.write(data)
        if digest.hexdigest() != upload.sha256:
            await self._remove(upload)
            raise ChecksumMismatch("whole", upload.sha256, digest.hexdigest())
        await self._objects.copy(model_key(upload.sha256), _whole(upload))
        query = "UPDATE model_upload SET finished = true WHERE id = %s RETURNING *"
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (upload.id,))).fetchone()
        await self._objects.delete_prefix(_folder(upload))
        return _upload(row)

    async def cancel(self, owner: str, name: str) -> None:
        """Forgets an upload and what it stored; a model's file stays. Idempotent."""
        await self._remove(await self.find(owner, name))

    async def _bytes(self, upload: ModelUpload) -> AsyncIterator[bytes]:
        query = "SELECT * FROM model_part WHERE upload = %s ORDER BY start_byte"
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, (upload.id,))).fetchall()
        for row in rows:
            key = _part(upload, row["start_byte"], row["writer"])
            async for data in self._objects.read(key, chunk_bytes=_CHUNK_BYTES):
                yield data

    async def _sweep(self, owner: str) -> None:
        """Forgets what an owner began and did not end in time."""
        query = "SELECT * FROM model_upload WHERE owner = %s AND expire_time <= now()"
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, (owner,))).fetchall()
        for row in rows:
            await self._remove(_upload(row))

    async def _remove(self, upload: ModelUpload) -> None:
        query = """SELECT EXISTS (SELECT FROM model_upload WHERE sha256 = %(sha256)s)
            OR EXISTS (SELECT FROM model WHERE files @> %(files)s::jsonb) AS used"""
        files = json.dumps([{"sha256": upload.sha256}])
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM model_upload WHERE id = %s", (upload.id,))
            values = {"sha256": upload.sha256, "files": files}
            row = await (await connection.execute(query, values)).fetchone()
        await self._objects.delete_prefix(_folder(upload))
        if row is not None and not row["used"]:
            await self._objects.delete(model_key(upload.sha256))


def _upload(row: dict[str, Any] | None) -> ModelUpload:
    assert row is not None  # those who ask have looked
    return ModelUpload(**{name: row[name] for name in ModelUpload.__dataclass_fields__})


def _identity(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _folder(upload: ModelUpload) -> str:
    return f"staging/models/{upload.id}/"


def _part(upload: ModelUpload, start_byte: int, writer: int) -> str:
    return f"{_folder(upload)}{start_byte:012d}-{writer}"


def _whole(upload: ModelUpload) -> str:
    return f"{_folder(upload)}whole"
