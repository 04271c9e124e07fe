"""Bytes that lie in object storage, in one object or several, read as one file."""

import asyncio
import hashlib
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chorale_runtime.objects import Objects


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
        self._ahead: tuple[int, int, asyncio.Task[bytes]] | None = None

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read; fewer bytes come only at the end."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[:2] == (offset_bytes, length_bytes):
            data = await ahead[2]
        else:
            await _end(ahead)
            data = await self._fetch(offset_bytes, length_bytes)
        follows = offset_bytes + length_bytes
        if follows < self.size_bytes:
            task = asyncio.create_task(self._fetch(follows, length_bytes))
            self._ahead = (follows, length_bytes, task)
        return data

    async def close(self) -> None:
        """Give up what was fetched ahead."""
        await _end(self._ahead)
        self._ahead = None

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

    async def _fetch(self, offset_bytes: int, length_bytes: int) -> bytes:
        parts = [part async for part in self._parts(offset_bytes, length_bytes)]
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


async def _end(ahead: tuple[int, int, asyncio.Task[bytes]] | None) -> None:
    if ahead is not None:
        ahead[2].cancel()
        with suppress(asyncio.CancelledError, Exception):
            await ahead[2]
