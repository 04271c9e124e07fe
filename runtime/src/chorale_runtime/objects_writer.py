"""Writing one object of unknown size in bounded memory."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from chorale_runtime.objects_client import S3Client, Stored

PART_BYTES = 8 << 20  # S3 asks for 5 MiB at least; 10,000 of these are 80 GiB
PARTS_IN_FLIGHT = 2  # with the one that fills: at most 24 MiB held per writer

T = TypeVar("T")
Run = Callable[..., Awaitable[Any]]


class Writer:
    """Takes bytes in any sizes and stores them as one object when its block ends well.

    Until then nobody sees the object, and if the block raises nobody ever does.
    What fits in one part is stored by one plain request.
    """

    def __init__(
        self,
        client: S3Client,
        run: Run,
        bucket: str,
        key: str,
        content_type: str,
        if_absent: bool,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.key = key
        self.size_bytes = 0
        self.stored: Stored | None = None  # set when the block has ended
        self._client, self._run, self._bucket = client, run, bucket
        self._content_type, self._if_absent = content_type, if_absent
        self._part_bytes = part_bytes
        self._filling: list[memoryview] = []
        self._filling_bytes = 0
        self._upload_id = ""
        self._parts: list[asyncio.Task[str]] = []

    async def write(self, data: bytes) -> None:
        """Take `data`, which must not change afterwards: it is sent from where it lies."""
        rest = memoryview(data)
        self.size_bytes += len(rest)
        while len(rest) > 0:
            taken = rest[: self._part_bytes - self._filling_bytes]
            self._filling.append(taken)
            self._filling_bytes += len(taken)
            rest = rest[len(taken) :]
            # A full part waits for the byte after it: the last one goes with the closing request.
            if len(rest) > 0:
                await self._send_part()

    async def finish(self) -> Stored:
        """Store the object; called by the block's end."""
        if not self._upload_id:
            self.stored = await self._run(
                self.key,
                self._client.put,
                self._bucket,
                self.key,
                self._filling,
                self._content_type,
                self._if_absent,
            )
            return self.stored
        await self._send_part()
        etags = [await part for part in self._parts]
        etag = await self._run(
            self.key,
            self._client.complete,
            self._bucket,
            self.key,
            self._upload_id,
            etags,
            self._if_absent,
        )
        self.stored = Stored(self.key, self.size_bytes, etag, self._content_type)
        return self.stored

    async def abort(self) -> None:
        """Throw away what was sent; called when the block raises."""
        # Not cancelled: a part whose thread is still sending would outlive the abort.
        await asyncio.gather(*self._parts, return_exceptions=True)
        if self._upload_id:
            await self._run(self.key, self._client.abort, self._bucket, self.key, self._upload_id)

    async def _send_part(self) -> None:
        if not self._upload_id:
            self._upload_id = await self._run(
                self.key, self._client.begin, self._bucket, self.key, self._content_type
            )
        data, self._filling, self._filling_bytes = self._filling, [], 0
        number = len(self._parts) + 1
        in_flight = [part for part in self._parts if not part.done()]
        if len(in_flight) >= PARTS_IN_FLIGHT:
            await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
        for part in self._parts:
            if part.done():
                part.result()  # a failed part fails the write at once, not at the end
        self._parts.append(asyncio.ensure_future(self._put_part(number, data)))

    async def _put_part(self, number: int, data: list[memoryview]) -> str:
        etag: str = await self._run(
            self.key,
            self._client.put_part,
            self._bucket,
            self.key,
            self._upload_id,
            number,
            data,
        )
        return etag
