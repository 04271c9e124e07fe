"""Writes audio to a file: beside its place first, resumed, checked by digest, then renamed."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorale.ingest.v1.reading_pb2 import ReadBytesRequest

from chorale_client.errors import DataLossError, RequestError
from chorale_client.patience import Deadline
from chorale_client.reading import read_bytes

HASH_SLICE_BYTES = 16 << 20
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


async def download(
    ingest: Any, audio: str, target: Path, deadline: Deadline, progress: Progress | None = None
) -> int:
    """Writes the original bytes of `audio` to `target`; returns how many.

    They gather in a part file beside `target`. A part left by an earlier attempt, of this or
    another process, is continued: the name says the content, so the halves fit. Writing at
    explicit offsets keeps two downloads of the same audio from harming each other.
    """
    digest = audio.removeprefix("audio/")
    part = target.with_name(f".{target.name}.{digest[:16]}.part")
    file = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        found = await _hash_of(file)
        if found.sha256 != digest and found.size_bytes:
            found = await _continue(_Fetch(ingest, audio, deadline, progress), file, found)
        if found.sha256 != digest:  # nothing to continue from, or it was not what it said
            os.ftruncate(file, 0)
            found = await _fetch(_Fetch(ingest, audio, deadline, progress), file, _Found())
        await asyncio.to_thread(os.fsync, file)
    finally:
        os.close(file)
    if found.sha256 != digest:
        part.unlink(missing_ok=True)
        raise DataLossError(
            f"The {found.size_bytes} bytes that came for {audio} have the digest {found.sha256}.",
            reason="CHECKSUM_MISMATCH",
            metadata={"of": "whole", "expected": digest, "found": found.sha256},
        )
    _move(part, target)
    return found.size_bytes


@dataclass(frozen=True)
class _Fetch:
    ingest: Any
    audio: str
    deadline: Deadline
    progress: Progress | None


class _Found:
    """What has come so far."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def add(self, data: bytes) -> None:
        self._digest.update(data)
        self.size_bytes += len(data)


async def _continue(fetch: _Fetch, file: int, found: _Found) -> _Found:
    try:
        return await _fetch(fetch, file, found)
    except RequestError as error:
        if error.reason != "SPAN_PAST_END":
            raise
        return found  # the part is longer than the audio: it is something else


async def _fetch(fetch: _Fetch, file: int, found: _Found) -> _Found:
    request = ReadBytesRequest(audio=fetch.audio, offset_bytes=found.size_bytes)
    async with aclosing(read_bytes(fetch.ingest, request, fetch.deadline)) as answers:
        async for answer in answers:
            await asyncio.to_thread(_keep, file, answer.data, found)
            if fetch.progress is not None:
                fetch.progress(found.size_bytes, answer.size_bytes)
    return found


def _keep(file: int, data: bytes, found: _Found) -> None:
    view = memoryview(data)
    offset = found.size_bytes
    while view:
        written_bytes = os.pwrite(file, view, offset)
        view, offset = view[written_bytes:], offset + written_bytes
    found.add(data)


async def _hash_of(file: int) -> _Found:
    found = _Found()
    while data := await asyncio.to_thread(os.pread, file, HASH_SLICE_BYTES, found.size_bytes):
        await asyncio.to_thread(found.add, data)
    return found


def _move(part: Path, target: Path) -> None:
    try:
        os.replace(part, target)
    except FileNotFoundError:
        if not target.exists():  # unless another download of the same audio was faster
            raise
