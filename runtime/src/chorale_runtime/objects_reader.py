"""Reading one object as a stream that outlives its connections."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from minio.error import S3Error
from urllib3.exceptions import HTTPError

from chorale_runtime.objects_client import ObjectsUnavailable, S3Client, raise_typed

RESUMES_MAX = 3  # times one read goes on after the server dropped it


async def read(
    client: S3Client,
    threads: ThreadPoolExecutor,
    bucket: str,
    key: str,
    offset_bytes: int,
    length_bytes: int | None,
    chunk_bytes: int,
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an object's range, one chunk read ahead.

    A connection that breaks is replaced, going on at the next byte of the same object:
    its etag is asked for, so the halves always fit.
    """
    end_bytes = None if length_bytes is None else offset_bytes + length_bytes
    etag, resumes = "", 0
    while end_bytes is None or offset_bytes < end_bytes:
        left = 0 if end_bytes is None else end_bytes - offset_bytes
        response = await _begin(client, threads, bucket, key, offset_bytes, left, etag)
        if response is None:
            return
        etag = response.headers.get("etag", "")
        try:
            async for chunk in _chunks(threads, response, chunk_bytes):
                offset_bytes += len(chunk)
                yield chunk
            return
        except (HTTPError, OSError) as error:
            resumes += 1
            if resumes > RESUMES_MAX:
                raise ObjectsUnavailable(str(error)) from error


async def _begin(
    client: S3Client,
    threads: ThreadPoolExecutor,
    bucket: str,
    key: str,
    offset_bytes: int,
    left: int,
    etag: str,
) -> Any:
    """Open the body of a read; None when the range begins at or after the end."""
    begin = partial(
        client.get_object,
        bucket,
        key,
        offset=offset_bytes,
        length=left,
        request_headers={"If-Match": etag} if etag else None,
    )
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, begin)
    except S3Error as error:
        if error.code == "InvalidRange":
            return None
        raise_typed(error, key)
    except Exception as error:
        raise_typed(error, key)


async def _chunks(
    threads: ThreadPoolExecutor, response: Any, chunk_bytes: int
) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    read = partial(response.read, chunk_bytes, decode_content=False)
    ahead = loop.run_in_executor(threads, read)
    try:
        while chunk := await ahead:
            ahead = loop.run_in_executor(threads, read)
            yield chunk
    finally:
        # A left-over read still owns the connection; whoever comes last closes it.
        ahead.add_done_callback(lambda done: _close(done, response))


def _close(done: "asyncio.Future[bytes]", response: Any) -> None:
    """Give a fully read connection back to the pool, and drop any other."""
    finished = not done.cancelled() and done.exception() is None and not done.result()
    if not finished:
        response.close()
    response.release_conn()
