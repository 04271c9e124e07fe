"""One stream's bytes on their way into object storage: a buffer, a digest, and commits.

A part is put while the next one fills. Memory is bounded for all streams together: the
more of them write, the smaller their parts.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chorale_runtime.objects import Objects

from chorale_ingest.uploads import Part, Upload, UploadContended, Uploads, prefix

PART_BYTES_MIN = 256 << 10
DIGESTS_KEPT = 1000


@dataclass(frozen=True)
class Digested:
    """A running SHA-256 and how far it has come."""

    size_bytes: int
    state: Any


class Staging:
    """What all streams of this process share."""

    def __init__(
        self, objects: Objects, uploads: Uploads, part_bytes: int, buffer_bytes: int
    ) -> None:
        self.objects, self.uploads = objects, uploads
        self._part_bytes, self._buffer_bytes = part_bytes, buffer_bytes
        self._digests: OrderedDict[str, Digested] = OrderedDict()
        self.writers: dict[str, Writing] = {}

    def part_bytes(self) -> int:
        """How large a part may grow now: each writer holds one that fills and one that is put."""
        share = self._buffer_bytes // (2 * max(1, len(self.writers)))
        return max(PART_BYTES_MIN, min(self._part_bytes, share))

    def digested(self, upload: Upload) -> Digested:
        """The digest of what is committed, if this process saw all of it; else of nothing."""
        kept = self._digests.get(upload.upload_id)
        if kept is not None and kept.size_bytes == upload.committed_bytes:
            return kept
        return Digested(0, hashlib.sha256())

    def keep(self, upload_id: str, digested: Digested) -> None:
        """Remember a digest for whoever goes on."""
        self._digests[upload_id] = digested
        self._digests.move_to_end(upload_id)
        while len(self._digests) > DIGESTS_KEPT:
            self._digests.popitem(last=False)

    def forget(self, upload_id: str) -> None:
        """Drop what is remembered of an upload."""
        self._digests.pop(upload_id, None)


class Writing:
    """One stream that writes to one upload: from its first message to its end."""

    def __init__(self, staging: Staging, upload: Upload) -> None:
        self.upload = upload
        self.committed_bytes = upload.committed_bytes
        self.received_bytes = upload.committed_bytes
        self._staging = staging
        self._digested = staging.digested(upload)
        self._filling: list[bytes] = []
        self._filling_bytes = 0
        self._storing: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()
        self._taken_over = False

    async def __aenter__(self) -> "Writing":
        """Become the upload's writer; an older one in this process is told at once."""
        older = self._staging.writers.get(self.upload.upload_id)
        self._staging.writers[self.upload.upload_id] = self
        if older is not None:
            older.take_over()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """Leave; what was received but not stored is dropped."""
        if self._staging.writers.get(self.upload.upload_id) is self:
            del self._staging.writers[self.upload.upload_id]
        if self._storing is not None and not self._storing.done():
            self._storing.cancel()
        if self._taken_over and isinstance(error, asyncio.CancelledError):
            if self._task is not None:
                self._task.uncancel()
            raise UploadContended(self.upload.name) from None

    def take_over(self) -> None:
        """End this stream with `UploadContended`, wherever it waits."""
        self._taken_over = True
        if self._task is not None:
            self._task.cancel()

    async def write(self, data: bytes) -> None:
        """Take the next bytes; returns when there is room for more."""
        self._filling.append(data)
        self._filling_bytes += len(data)
        self.received_bytes += len(data)
        if self._filling_bytes >= self._staging.part_bytes():
            await self._begin_storing()

    async def flush(self) -> None:
        """Return when everything received is committed."""
        await self._begin_storing()
        await self._stored()

    async def _begin_storing(self) -> None:
        await self._stored()
        if self._filling_bytes:
            data, self._filling, self._filling_bytes = self._filling, [], 0
            self._storing = asyncio.create_task(self._store(data))

    async def _stored(self) -> None:
        if self._storing is not None:
            await asyncio.shield(self._storing)
            self._storing = None

    async def _store(self, data: Sequence[bytes]) -> None:
        offset = self.committed_bytes
        key = f"{prefix(self.upload.upload_id)}{offset:015d}-{self.upload.epoch}"
        put = asyncio.create_task(self._put(key, data))
        digested = await asyncio.to_thread(_digest, self._digested, offset, data)
        size_bytes = await put
        await self._staging.uploads.commit(self.upload, Part(offset, size_bytes, key))
        self.committed_bytes += size_bytes
        self._digested = digested
        if digested.size_bytes == self.committed_bytes:
            self._staging.keep(self.upload.upload_id, digested)

    async def _put(self, key: str, data: Sequence[bytes]) -> int:
        async with self._staging.objects.writer(key) as writer:
            for chunk in data:
                await writer.write(chunk)
        return writer.size_bytes


def _digest(before: Digested, offset_bytes: int, data: Sequence[bytes]) -> Digested:
    """Go on with a digest that stands at the offset; any other cannot be continued."""
    if before.size_bytes != offset_bytes:
        return before
    state = before.state.copy()
    for chunk in data:
        state.update(chunk)
    return Digested(offset_bytes + sum(map(len, data)), state)
