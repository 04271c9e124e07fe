"""The S3 calls, one at a time and blocking: what `Objects` runs on its threads."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, cast
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from minio.helpers import DictType
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import Retry, Timeout

from chorale_runtime.dependencies import DependencyUnavailable, StorageFull
from chorale_runtime.disk import Disk

DEPENDENCY = "objects"
CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 15.0
RETRIES = 2

MISSING_CODES = {"NoSuchKey", "NoSuchVersion"}
FULL_CODES = {
    "EntityTooLargeForQuota",
    "InsufficientStorage",
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
# A server that runs out of disk in mid-request answers 500 and says why only in prose.
FULL_PHRASES = ("no space left", "disk full", "no free volumes", "no writable volumes")


class ObjectNotFound(Exception):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"No object is stored under {self.key!r}."


class ObjectExists(Exception):
    """An object already has this key, and the write was to make a new one."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"An object is already stored under {self.key!r}."


class ObjectsUnavailable(DependencyUnavailable):
    """The object storage refused, broke or did not answer in time."""

    def __init__(self, detail: str) -> None:
        super().__init__(DEPENDENCY, detail)


@dataclass(frozen=True)
class Stored:
    """An object as the storage has it."""

    key: str
    size_bytes: int
    etag: str
    content_type: str = ""
    store_time: datetime | None = None


class S3Client(Minio):
    """The SDK plus what it has no public call for: conditional writes and single parts.

    Its `_execute` and `_build_headers` are not public; the law suite runs every
    use of them, and the SDK's version is pinned.
    """

    disk: Disk | None = None
    """Where the server keeps its bytes, when that is on this machine."""

    def _build_headers(
        self, host: str, headers: Any = None, body: Any = None, creds: Any = None
    ) -> Any:
        """Sign the request but not its body.

        The SDK hashes every body once more (SHA-256 in the clear, MD5 under TLS).
        What we store is already named by its digest, or checked against one.
        """
        length = headers.get("Content-Length") if headers else None
        headers, date = super()._build_headers(host, headers, None, creds)
        headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        if body is not None:
            headers["Content-Length"] = length or str(len(body))
        return headers, date

    def put(
        self, bucket: str, key: str, parts: Sequence[Any], content_type: str, if_absent: bool
    ) -> Stored:
        """Store the bytes of `parts`, one after another, as one object."""
        headers: DictType = {"Content-Type": content_type, **_condition(if_absent)}
        return self._send(bucket, key, parts, headers, {})

    def begin(self, bucket: str, key: str, content_type: str) -> str:
        """Begin a multipart upload and return its id."""
        return self._create_multipart_upload(bucket, key, {"Content-Type": content_type})

    def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, parts: Sequence[Any]
    ) -> str:
        """Store one part of a multipart upload and return its etag."""
        query: DictType = {"partNumber": str(number), "uploadId": upload_id}
        # SeaweedFS packs parts of no type when their first bytes look packable, and then unpacks
        # 4 MiB for every range in them, however short: 60 ms instead of 3.
        headers: DictType = {"Content-Type": "application/octet-stream"}
        return self._send(bucket, key, parts, headers, query).etag

    def complete(
        self, bucket: str, key: str, upload_id: str, etags: Sequence[str], if_absent: bool
    ) -> str:
        """Make the parts one object and return its etag."""
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in enumerate(etags, start=1)
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        response = self._execute(
            "POST",
            bucket,
            key,
            body=body,
            headers={"Content-Type": "application/xml", **_condition(if_absent)},
            query_params={"uploadId": upload_id},
        )
        return _completed_etag(response.data)

    def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """Throw the parts of a multipart upload away."""
        self._abort_multipart_upload(bucket, key, upload_id)

    def _send(
        self,
        bucket: str,
        key: str,
        parts: Sequence[Any],
        headers: DictType,
        query: DictType,
    ) -> Stored:
        size_bytes = sum(len(part) for part in parts)
        if self.disk:
            self.disk.require_room(size_bytes)
        # Sent piece by piece as they came: joining them would copy every byte once more.
        headers["Content-Length"] = str(size_bytes)
        body = cast(bytes, list(parts))  # the SDK hands it on to urllib3, which takes both
        response = self._execute("PUT", bucket, key, body, headers, query)
        etag = response.headers.get("etag", "").strip('"')
        return Stored(key, size_bytes, etag, str(headers.get("Content-Type", "")))


def client(
    endpoint: str,
    access_key: str,
    secret_key: str,
    secure: bool,
    region: str,
    connections: int,
    directory: str = "",
) -> S3Client:
    """Make a client of `connections` pooled connections; asks nothing of the server.

    A server on this machine keeps its bytes in `directory`.
    """
    made = S3Client(
        endpoint=endpoint,
        access_key=access_key,
        secret_key=secret_key,
        secure=secure,
        region=region,  # given, so that nothing ever asks the server for it
        http_client=_http(connections),
    )
    made.disk = Disk(DEPENDENCY, Path(directory)) if directory else None
    return made


def raise_typed(error: Exception, key: str) -> NoReturn:
    """Raise what `error`, which the SDK raised about `key`, means to us."""
    if isinstance(error, S3Error):
        _raise_s3(error, key)
    if isinstance(error, InvalidResponseError | ServerError) and "507" in str(error):
        raise StorageFull(DEPENDENCY) from error
    if isinstance(error, MinioException | HTTPError | OSError):
        raise ObjectsUnavailable(str(error)) from error
    raise error


def _raise_s3(error: S3Error, key: str) -> NoReturn:
    status = getattr(error.response, "status", 0)
    text = f"{error.code} {error.message}".lower()
    if error.code in MISSING_CODES:
        raise ObjectNotFound(key) from error
    if error.code == "PreconditionFailed" or status == 412:
        raise ObjectExists(key) from error
    if error.code in FULL_CODES or status == 507 or any(word in text for word in FULL_PHRASES):
        raise StorageFull(DEPENDENCY) from error
    raise ObjectsUnavailable(str(error)) from error


class _Retry(Retry):
    """Tries again what failed at once, and not what took its whole time to fail."""

    def increment(self, *args: Any, **kwargs: Any) -> "_Retry":
        error = kwargs.get("error")
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(*args, **kwargs)


def _http(connections: int) -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=connections,
        timeout=Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS),
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=_Retry(
            total=RETRIES,
            backoff_factor=0.2,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,  # the last answer says why in its body
        ),
    )


def _condition(if_absent: bool) -> DictType:
    return {"If-None-Match": "*"} if if_absent else {}


def _completed_etag(data: bytes) -> str:
    """Read the answer to a completion, which may be an error although its status is 200."""
    root = ElementTree.fromstring(data)  # noqa: S314  # from our own storage
    found = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    if "ETag" not in found:
        raise ObjectsUnavailable(
            f"completing an upload: {found.get('Code')} {found.get('Message')}"
        )
    return found["ETag"].strip('"')
