"""The database and the object storage that the services are given: ours, or named ones."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from chorale_mesh.errors import UnreachableError
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.plan import ObjectStorage, parse_objects_url

_TIMEOUT_SECONDS = 10
# What CreateBucket says when another was faster.
_ALREADY_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def described(embedded: EmbeddedObjects | None, url: str) -> ObjectStorage:
    """The object storage in use: the embedded one, or the one of a URL."""
    if embedded is None:
        return parse_objects_url(url)
    return ObjectStorage(
        embedded.endpoint,
        embedded.access_key,
        embedded.secret_key,
        directory=str(embedded.directory),
    )


def require_bucket(objects: ObjectStorage) -> None:
    """Makes sure that the bucket is there and ours."""
    client = Minio(
        endpoint=objects.endpoint,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
        secure=objects.secure,
        http_client=urllib3.PoolManager(timeout=_TIMEOUT_SECONDS, retries=False),
    )
    where = f"{objects.endpoint}/{objects.bucket}"
    try:
        if not client.bucket_exists(bucket_name=objects.bucket):
            client.make_bucket(bucket_name=objects.bucket)
    except S3Error as error:
        if error.code not in _ALREADY_THERE:
            raise UnreachableError("The object storage", where, f"{error.code}") from error
    except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise UnreachableError("The object storage", where, str(error)) from error


def require_database(url: str) -> None:
    """Makes sure that the database answers and has pgvector to offer."""
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_SECONDS) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
            ).fetchone()
    except psycopg.Error as error:
        raise UnreachableError("The database", _shown(url), str(error).strip()) from error
    if found is None:
        raise UnreachableError("The database", _shown(url), "it has no pgvector to offer")


def _shown(url: str) -> str:
    """A database URL without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'local socket'}:{parts.port or 5432}{parts.path}"
