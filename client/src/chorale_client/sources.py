"""What can be uploaded: anything that can be read twice from any byte, or is made so."""

import asyncio
import hashlib
import os
import tempfile
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Protocol, TypeGuard

from chorale_client.errors import RequestError

HASH_SLICE_BYTES = 64 << 20  # between two slices a cancelled upload can stop
HASH_READ_BYTES = 256 << 10  # small enough for the cache, and to be had without fresh pages
SPOOL_MEMORY_BYTES = 32 << 20  # a stream is kept in memory up to here, then on disk

Uploadable = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | AsyncIterable[bytes]
    | Iterable[bytes]
)


class Source(Protocol):
    """Bytes of known number, readable from any offset, any number of times."""

    size_bytes: int
    file_name: str

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Up to `length_bytes` from `offset_bytes`; fewer only at the end."""
        ...

    async def sha256(self) -> str:
        """The digest of the whole where it can be had before sending; else empty."""
        ...


@asynccontextmanager
async def opened(what: Uploadable, size_bytes: int | None = None) -> AsyncIterator[Source]:
    """Makes a source of a path, bytes, a binary file object or an iterator of bytes.

    A file that can seek is read from where it stands. What cannot be read twice (a pipe, an
    iterator) is kept aside as it flows, for the case that the connection breaks; when its
    `size_bytes` is not told, it has to end before the upload can begin.
    """
    if isinstance(what, bytes | bytearray | memoryview):
        yield InMemory(what)
    elif isinstance(what, str | os.PathLike):
        with await asyncio.to_thread(open, what, "rb") as file:
            yield InFile(file, Path(what).name)
    elif _can_seek(what):
        yield InFile(what, _name_of(what))
    else:
        with tempfile.SpooledTemporaryFile(SPOOL_MEMORY_BYTES) as spool:
            stream = InStream(_pieces(what), spool, _name_of(what))
            try:
                stream.size_bytes = await stream.drain() if size_bytes is None else size_bytes
                yield stream
            finally:
                await stream.close()


class InMemory:
    """Bytes at hand."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")
        self.size_bytes = len(self._view)
        self.file_name = ""

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """A copy of a part."""
        return bytes(self._view[offset_bytes : offset_bytes + length_bytes])

    async def sha256(self) -> str:
        """The digest of the whole."""
        return (await asyncio.to_thread(hashlib.sha256, self._view)).hexdigest()


class InFile:
    """A file that can seek, from where it stands to its end. Read in a thread."""

    def __init__(self, file: IO[bytes], file_name: str) -> None:
        self._file = file
        self._lock = threading.Lock()  # a read whose upload broke may still be under way
        self._begin = file.tell()
        self.size_bytes = file.seek(0, os.SEEK_END) - self._begin
        self.file_name = file_name

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """A part."""
        return await asyncio.to_thread(self._read, offset_bytes, length_bytes)

    async def sha256(self) -> str:
        """The digest of the whole: one reading ahead of the upload, which may then be spared."""
        digest = hashlib.sha256()
        for offset in range(0, self.size_bytes, HASH_SLICE_BYTES):
            await asyncio.to_thread(self._hash_slice, digest, offset)
        return digest.hexdigest()

    def _hash_slice(self, digest: "hashlib._Hash", offset_bytes: int) -> None:
        left = min(HASH_SLICE_BYTES, self.size_bytes - offset_bytes)
        with self._lock:
            self._file.seek(self._begin + offset_bytes)
            while left > 0 and (piece := self._file.read(min(HASH_READ_BYTES, left))):
                digest.update(piece)
                left -= len(piece)

    def _read(self, offset_bytes: int, length_bytes: int) -> bytes:
        with self._lock:
            self._file.seek(self._begin + offset_bytes)
            return self._file.read(min(length_bytes, self.size_bytes - offset_bytes))


class InStream:
    """What flows by once: kept aside as it is read, so that it can be read again."""

    def __init__(self, pieces: AsyncIterator[bytes], spool: IO[bytes], file_name: str) -> None:
        self._pieces = pieces
        self._spool = spool
        self._lock = threading.Lock()
        self._kept_bytes = 0
        self._digest = hashlib.sha256()
        self._ended = False
        self._pulling: asyncio.Future[bool] | None = None
        self.size_bytes = 0
        self.file_name = file_name

    async def drain(self) -> int:
        """Takes everything in; returns how many bytes it was."""
        while await self._pull():
            pass
        return self._kept_bytes

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """A part, as soon as it has flowed by."""
        end = min(offset_bytes + length_bytes, self.size_bytes)
        is_last = end == self.size_bytes  # then the stream itself must end here too
        while (self._kept_bytes < end or is_last) and await self._pull():
            if self._kept_bytes > self.size_bytes:
                break
        if self._kept_bytes < end or self._kept_bytes > self.size_bytes:
            raise RequestError(
                f"The stream was said to hold {self.size_bytes} bytes; it holds "
                f"{'more' if self._kept_bytes > end else self._kept_bytes}.",
                reason="UPLOAD_SIZE_MISMATCH",
            )
        return await asyncio.to_thread(self._read, offset_bytes, end - offset_bytes)

    async def sha256(self) -> str:
        """The digest, once everything has flowed by."""
        return self._digest.hexdigest() if self._ended else ""

    async def close(self) -> None:
        """Lets go of what still flows."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)

    async def _pull(self) -> bool:
        """Takes in one piece; False at the end.

        The taking outlives whoever waits for it: cancelling a generator in the middle of a piece
        would end it, and the upload that resumes after a break needs the rest.
        """
        if self._pulling is None:
            self._pulling = asyncio.ensure_future(self._take())
        pulling = self._pulling
        try:
            return await asyncio.shield(pulling)
        finally:
            if pulling.done() and self._pulling is pulling:
                self._pulling = None

    async def _take(self) -> bool:
        piece = await anext(self._pieces, None)
        if piece is None:
            self._ended = True
            return False
        await asyncio.to_thread(self._keep, piece)
        return True

    def _keep(self, piece: bytes) -> None:
        with self._lock:
            self._spool.seek(0, os.SEEK_END)
            self._spool.write(piece)
        self._digest.update(piece)
        self._kept_bytes += len(piece)

    def _read(self, offset_bytes: int, length_bytes: int) -> bytes:
        with self._lock:
            self._spool.seek(offset_bytes)
            return self._spool.read(length_bytes)


async def _pieces(what: object) -> AsyncIterator[bytes]:
    """The pieces of an async iterator, an iterator, or a file that cannot seek."""
    if isinstance(what, AsyncIterable):
        async for piece in what:
            yield piece
        return
    if hasattr(what, "read"):
        while piece := await asyncio.to_thread(what.read, 1 << 20):
            yield piece
        return
    if not isinstance(what, Iterable):
        raise TypeError(f"put takes a path, bytes, a binary file or an iterator, not {type(what)}.")
    iterator = iter(what)
    while (piece := await asyncio.to_thread(next, iterator, None)) is not None:
        yield piece


def _can_seek(file: object) -> TypeGuard[IO[bytes]]:
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "read") and bool(seekable is not None and seekable())


def _name_of(file: object) -> str:
    name = getattr(file, "name", "")
    if not isinstance(name, str | os.PathLike) or str(name).startswith("<"):  # "<stdin>", 0
        return ""
    return Path(name).name
