"""One stream's bytes on their way into object storage: a buffer, a digest, and commits.

A part is put while the next one fills. Memory is bounded for all streams together: the
more of them write, the smaller their parts.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chorale_runtime.objects import Objects

from chorale_ingest.store.uploads import Part, Upload, UploadContended, Uploads, part_key

PART_BYTES_MIN = 256 << 10
DIGESTS_KEPT = 1000
SETTLE_SECONDS = 10.0


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
        self._background: set[asyncio.Task[None]] = set()

    def part_bytes(self) -> int:
        """How large a part may grow now: each writer holds one that fills and one that is put."""
        share = self._buffer_bytes // (2 * max(1, len(self.writers)))
        return max(PART_BYTES_MIN, min(self._part_bytes, share))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something whose caller is gone."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settle(self) -> None:
        """Wait for what is still being done for callers that are gone."""
        if self._background:
            await asyncio.wait(self._background, timeout=SETTLE_SECONDS)

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
        """Leave. What a broken stream brought is stored still, so that less is sent again."""
        if self._staging.writers.get(self.upload.upload_id) is self:
            del self._staging.writers[self.upload.upload_id]
        if self._taken_over:
            await self._drop()
            if isinstance(error, asyncio.CancelledError) and self._task is not None:
                self._task.uncancel()
                raise UploadContended(self.upload.name) from None
        elif isinstance(error, asyncio.CancelledError):
            self._staging.later(self._salvage())
        elif error is not None:
            await self._salvage()

    async def _salvage(self) -> None:
        with suppress(Exception):  # the stream's own error, or its end, is what is told
            await self.flush()

    async def _drop(self) -> None:
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait([self._storing])

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
        key = part_key(self.upload, offset)
        size_bytes, digested = await asyncio.gather(
            self._put(key, data), asyncio.to_thread(_digest, self._digested, offset, data)
        )
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
