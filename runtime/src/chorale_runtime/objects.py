"""Named bytes in one bucket of any S3 server."""

import asyncio
import itertools
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Self, TypeVar
from urllib.parse import quote

from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.helpers import DictType

from chorale_runtime import objects_reader as reading
from chorale_runtime.dependencies import StorageFull
from chorale_runtime.objects_client import (
    ObjectExists,
    ObjectNotFound,
    ObjectsUnavailable,
    S3Client,
    Stored,
    client,
    raise_typed,
)
from chorale_runtime.objects_writer import PART_BYTES, Writer
from chorale_runtime.settings import ServerSettings

__all__ = [
    "ObjectExists",
    "ObjectNotFound",
    "Objects",
    "ObjectsUnavailable",
    "StorageFull",
    "Stored",
    "Writer",
]

logger = logging.getLogger(__name__)

REGION = "us-east-1"
LIST_PAGE = 1000
COPY_MAX_BYTES = 5 << 30  # what S3 copies in one request
COMPOSE_MIN_BYTES = 5 << 20  # what S3 takes as a part that is not the last
START_RETRY_SECONDS = 5.0
ABORT_SECONDS = 2.0

T = TypeVar("T")


class Objects:
    """One bucket, without ever blocking the event loop.

    The SDK blocks, so its calls run on threads of our own, as many as there are
    pooled connections. A server that is away is `ObjectsUnavailable` within
    seconds; the first call after it is back works.
    """

    def __init__(self, inside: S3Client, public: S3Client, bucket: str, connections: int) -> None:
        self.bucket = bucket
        self._client, self._public = inside, public
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="objects")
        self._aborting: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, settings: ServerSettings) -> AbstractAsyncContextManager[Self]:
        """Connect to the bucket that a service's settings name."""
        return cls.open(
            endpoint=settings.objects_endpoint,
            public_endpoint=settings.objects_public_endpoint,
            access_key=settings.objects_access_key,
            secret_key=settings.objects_secret_key,
            bucket=settings.objects_bucket,
            secure=settings.objects_secure,
            directory=settings.objects_directory,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        public_endpoint: str = "",
        secure: bool = False,
        region: str = REGION,
        connections: int = 16,
        create_bucket: bool = True,
        directory: str = "",
        wait_seconds: float | None = None,
    ) -> AsyncIterator[Self]:
        """Connect to `bucket`, making it if it is absent and `create_bucket` is set.

        Signed URLs point to `public_endpoint` ("host:port" or with a scheme; empty:
        `endpoint`). A server on this machine keeps its bytes in `directory`. Waits for
        a server that is not there yet for at most `wait_seconds` (None: as long as it
        takes), saying so in the log.
        """
        host, host_secure = _host(endpoint, secure)
        inside = client(host, access_key, secret_key, host_secure, region, connections, directory)
        host, host_secure = _host(public_endpoint or endpoint, secure)
        public = client(host, access_key, secret_key, host_secure, region, 1)
        objects = cls(inside, public, bucket, connections)
        try:
            async with asyncio.timeout(wait_seconds):
                await objects._until_ready(create_bucket, region)
            yield objects
        finally:
            if objects._aborting:
                await asyncio.wait(objects._aborting, timeout=ABORT_SECONDS)
            objects._threads.shutdown(wait=False, cancel_futures=True)

    async def put(
        self,
        key: str,
        data: bytes | bytearray | memoryview | AsyncIterable[bytes],
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> Stored:
        """Store `data` under `key`; with `if_absent`, raise `ObjectExists` if there is one.

        Of several writers with `if_absent` exactly one succeeds.
        """
        if isinstance(data, bytes | bytearray | memoryview):
            return await self._run(
                key, self._client.put, self.bucket, key, [data], content_type, if_absent
            )
        async with self.writer(key, content_type, if_absent=if_absent) as writer:
            async for chunk in data:
                await writer.write(chunk)
        if writer.stored is None:
            raise AssertionError("a writer that ended well has stored its object")
        return writer.stored

    @asynccontextmanager
    async def writer(
        self,
        key: str,
        content_type: str = "application/octet-stream",
        *,
        if_absent: bool = False,
        part_bytes: int = PART_BYTES,
    ) -> AsyncIterator[Writer]:
        """Write one object piece by piece; it appears whole at the end, or not at all."""
        writer = Writer(
            self._client, self._run, self.bucket, key, content_type, if_absent, part_bytes
        )
        try:
            yield writer
            await writer.finish()
        except BaseException:
            aborting = asyncio.create_task(self._abort(writer))
            self._aborting.add(aborting)
            aborting.add_done_callback(self._aborting.discard)
            # Whoever gave up waits for the clean-up only as long as it takes a server that answers.
            await asyncio.wait({aborting}, timeout=ABORT_SECONDS)
            raise

    async def _abort(self, writer: Writer) -> None:
        # The error that led here tells more; parts left on a dead server are its own to sweep.
        with suppress(ObjectsUnavailable, ObjectNotFound, StorageFull):
            await writer.abort()

    def read(
        self,
        key: str,
        offset_bytes: int = 0,
        length_bytes: int | None = None,
        chunk_bytes: int = 1 << 20,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of `key` from `offset_bytes` on, `length_bytes` of them or all.

        One chunk is read ahead. A connection that breaks is replaced, going on at
        the next byte of the same object. Past the end there is nothing to yield.
        """
        return reading.read(
            self._client, self._threads, self.bucket, key, offset_bytes, length_bytes, chunk_bytes
        )

    async def read_all(self, key: str, offset_bytes: int = 0, length_bytes: int = 0) -> bytes:
        """Read a small object, or `length_bytes` of one, at once."""
        chunks = self.read(key, offset_bytes, length_bytes or None)
        return b"".join([chunk async for chunk in chunks])

    async def stat(self, key: str) -> Stored:
        """Say how large the object is and what it holds."""
        return _stored(await self._run(key, self._client.stat_object, self.bucket, key))

    async def exists(self, key: str) -> bool:
        """Whether an object has this key."""
        try:
            await self.stat(key)
        except ObjectNotFound:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Delete the object; one that is not there is already deleted."""
        with suppress(ObjectNotFound):
            await self._run(key, self._client.remove_object, self.bucket, key)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key starts with `prefix`; return how many there were."""
        if not prefix:
            raise ValueError("delete_prefix needs a prefix; an empty one would empty the bucket")
        count = 0
        async for page in self._pages(prefix):
            failed = await self._run(prefix, self._delete_page, [found.key for found in page])
            if failed:
                raise ObjectsUnavailable(f"{len(failed)} objects were not deleted: {failed[0]}")
            count += len(page)
        return count

    async def list(self, prefix: str = "") -> AsyncIterator[Stored]:
        """Yield the objects whose key starts with `prefix`, in order of their keys."""
        async for page in self._pages(prefix):
            for found in page:
                yield found

    async def copy(self, key: str, source: str) -> Stored:
        """Copy an object inside the storage."""
        size_bytes = (await self.stat(source)).size_bytes
        if size_bytes > COPY_MAX_BYTES:
            return await self.compose(key, [source])
        await self._run(
            source,
            self._client.copy_object,
            self.bucket,
            key,
            CopySource(bucket_name=self.bucket, object_name=source),
        )
        return await self.stat(key)

    async def compose(self, key: str, sources: Sequence[str]) -> Stored:
        """Store the bytes of `sources`, one after another, under `key`.

        Inside the storage where S3 allows it (every source but the last is at
        least 5 MiB); otherwise the bytes pass through here.
        """
        found = [await self.stat(source) for source in sources]
        if any(part.size_bytes < COMPOSE_MIN_BYTES for part in found[:-1]):
            async with self.writer(key, found[0].content_type) as writer:
                for source in sources:
                    async for chunk in self.read(source):
                        await writer.write(chunk)
        else:
            parts = [ComposeSource(bucket_name=self.bucket, object_name=name) for name in sources]
            await self._run(key, self._client.compose_object, self.bucket, key, parts)
        return await self.stat(key)

    def sign_get(self, key: str, lifetime_seconds: int, file_name: str | None = None) -> str:
        """Make a URL with which anyone may read the object for a while."""
        headers: DictType = {}
        if file_name:
            headers["response-content-disposition"] = _attachment(file_name)
        return self._sign("GET", key, lifetime_seconds, headers)

    def sign_put(self, key: str, lifetime_seconds: int) -> str:
        """Make a URL with which anyone may write the object for a while."""
        return self._sign("PUT", key, lifetime_seconds, {})

    async def probe(self) -> None:
        """Raise `ObjectsUnavailable` unless the server answers and has the bucket."""
        if not await self._run(self.bucket, self._client.bucket_exists, self.bucket):
            raise ObjectsUnavailable(f"the bucket {self.bucket!r} does not exist")

    async def _run(self, key: str, call: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(call, *args))
        except Exception as error:
            raise_typed(error, key)

    async def _pages(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        found: Iterator[Any] = self._client.list_objects(self.bucket, prefix=prefix, recursive=True)
        while page := await self._run(prefix, lambda: list(itertools.islice(found, LIST_PAGE))):
            yield [_stored(each) for each in page]

    def _delete_page(self, keys: Sequence[str]) -> Sequence[str]:
        errors = self._client.remove_objects(self.bucket, [DeleteObject(key) for key in keys])
        return [f"{error.name}: {error.code} {error.message}" for error in errors]

    def _sign(self, method: str, key: str, lifetime_seconds: int, headers: DictType) -> str:
        url: str = self._public.get_presigned_url(
            method,
            self.bucket,
            key,
            expires=timedelta(seconds=lifetime_seconds),
            response_headers=headers,
        )
        return url

    async def _until_ready(self, create_bucket: bool, region: str) -> None:
        delay_seconds = 0.2
        while True:
            try:
                if create_bucket:
                    await self._create_bucket(region)
                return await self.probe()
            except ObjectsUnavailable as error:
                logger.warning(
                    "objects_unavailable: retrying in %.1f s: %s", delay_seconds, error.detail
                )
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(delay_seconds * 2, START_RETRY_SECONDS)

    async def _create_bucket(self, region: str) -> None:
        if await self._run(self.bucket, self._client.bucket_exists, self.bucket):
            return
        with suppress(ObjectExists):
            await self._run(self.bucket, self._make_bucket, region)

    def _make_bucket(self, region: str) -> None:
        try:
            self._client.make_bucket(self.bucket, region)
        except S3Error as error:
            # Another replica made it between our look and our call.
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise


def _host(endpoint: str, secure: bool) -> tuple[str, bool]:
    """Split an optional scheme off; it wins over `secure`."""
    for scheme, is_secure in (("https://", True), ("http://", False)):
        if endpoint.startswith(scheme):
            return endpoint.removeprefix(scheme).rstrip("/"), is_secure
    return endpoint, secure


def _stored(found: Any) -> Stored:
    return Stored(
        key=found.object_name,
        size_bytes=found.size or 0,
        etag=(found.etag or "").strip('"'),
        content_type=found.content_type or "",
        store_time=found.last_modified,
    )


def _attachment(file_name: str) -> str:
    """Say `file_name` twice, as RFC 6266 asks: plainly, and with every character."""
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in file_name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
