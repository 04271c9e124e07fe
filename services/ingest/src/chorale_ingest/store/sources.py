"""Bytes that lie in object storage, in one object or several, read as one file."""

import asyncio
import hashlib
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chorale_runtime.objects import Objects

# Per request: storage keeps objects in pieces of several MiB, and reads a whole one for any range.
FETCH_BYTES = 4 << 20


class SourceTruncated(Exception):
    """Object storage gave fewer bytes than it holds by its own account."""

    def __init__(self, key: str, size_bytes: int, found_bytes: int) -> None:
        super().__init__(key, size_bytes, found_bytes)
        self.key, self.size_bytes, self.found_bytes = key, size_bytes, found_bytes

    def __str__(self) -> str:
        return f"{self.key} should hold {self.size_bytes} bytes and gave {self.found_bytes}."


@dataclass(frozen=True)
class Segment:
    """A run of the file in one object."""

    offset_bytes: int
    size_bytes: int
    key: str


class StoredFile:
    """Reads anywhere; whoever reads on finds the next bytes already fetched."""

    def __init__(self, objects: Objects, segments: Sequence[Segment]) -> None:
        self.size_bytes = sum(segment.size_bytes for segment in segments)
        self._objects, self._segments = objects, segments
        self._offsets = [segment.offset_bytes for segment in segments]
        self._block: tuple[int, bytes] = (-1, b"")
        self._ahead: tuple[int, asyncio.Task[bytes]] | None = None

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read; fewer bytes come only at the end."""
        parts = []
        end = min(offset_bytes + length_bytes, self.size_bytes)
        while offset_bytes < end:
            number, start = divmod(offset_bytes, FETCH_BYTES)
            part = (await self._fetched(number))[start : start + end - offset_bytes]
            parts.append(part)
            offset_bytes += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        """Give up what was fetched ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead[1].cancel()
            with suppress(asyncio.CancelledError, Exception):
                await ahead[1]

    async def _fetched(self, number: int) -> bytes:
        if self._block[0] == number:
            return self._block[1]
        if self._ahead is not None and self._ahead[0] == number:
            task, self._ahead = self._ahead[1], None
            block = await task
        else:
            await self.close()
            block = await self._fetch(number)
        self._block = (number, block)
        if (number + 1) * FETCH_BYTES < self.size_bytes:
            self._ahead = (number + 1, asyncio.create_task(self._fetch(number + 1)))
        return block

    async def sha256(self) -> str:
        """Digest the whole file, reading it once."""
        digest = hashlib.sha256()
        for segment in self._segments:
            found_bytes = 0
            async for chunk in self._objects.read(segment.key):
                found_bytes += len(chunk)
                digest.update(chunk)  # under a millisecond for a chunk of 1 MiB
            _check(segment, segment.size_bytes, found_bytes)
        return digest.hexdigest()

    async def _fetch(self, number: int) -> bytes:
        parts = [part async for part in self._parts(number * FETCH_BYTES, FETCH_BYTES)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _parts(self, offset_bytes: int, length_bytes: int) -> AsyncIterator[bytes]:
        end = min(offset_bytes + length_bytes, self.size_bytes)
        position = offset_bytes
        while position < end:
            segment = self._segments[bisect_right(self._offsets, position) - 1]
            inside = position - segment.offset_bytes
            wanted = min(end - position, segment.size_bytes - inside)
            data = await self._objects.read_all(segment.key, inside, wanted)
            _check(segment, wanted, len(data))
            yield data
            position += wanted


def _check(segment: Segment, wanted_bytes: int, found_bytes: int) -> None:
    if found_bytes != wanted_bytes:
        raise SourceTruncated(segment.key, wanted_bytes, found_bytes)
