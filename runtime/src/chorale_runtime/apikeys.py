"""API keys: long random strings, of which the database knows only the SHA-256.

A key found is believed for a few seconds without asking again, so revoking takes that long
to reach every replica. While the database is away, keys seen in the last minutes still open.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale_runtime.caller import Caller
from chorale_runtime.database import Database
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.refusals import CredentialsExpired, CredentialsInvalid

PREFIX = "ck_"
_RANDOM_BYTES = 32
_HINT_CHARACTERS = 9
_BELIEVED_SECONDS = 10.0
_BELIEVED_WITHOUT_DATABASE_SECONDS = 300.0
_DATABASE_ASKED_AGAIN_SECONDS = 2.0
_CACHED_MAX = 10_000
# How many unknown keys may be looked up at once: guessing must not drain the pool.
_LOOKUPS_MAX = 4


@dataclass(frozen=True)
class _Found:
    caller: Caller | None
    expires_at: float | None
    found_at: float

    def age_seconds(self) -> float:
        return time.monotonic() - self.found_at

    def opened(self) -> Caller:
        if self.caller is None:
            raise CredentialsInvalid("the API key is unknown or revoked")
        if self.expires_at is not None and time.time() >= self.expires_at:
            raise CredentialsExpired
        return self.caller


class ApiKeys:
    """Finds out whose key it is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[bytes, _Found] = OrderedDict()
        self._lookups = asyncio.Semaphore(_LOOKUPS_MAX)
        self._away_until = 0.0

    async def find(self, key: str) -> Caller:
        """Says whose key it is, or raises a credentials refusal."""
        digest = digest_of(key)
        known = self._fresh(digest)
        if known is None:
            async with self._lookups:
                # Another call may have looked the same key up while this one waited.
                known = self._fresh(digest) or await self._looked_up(digest)
        return known.opened()

    def _fresh(self, digest: bytes) -> _Found | None:
        known = self._known.get(digest)
        if known is None:
            return None
        # Asked in vain a moment ago: better an old answer now than the same in seconds.
        is_away = time.monotonic() < self._away_until
        believed = _BELIEVED_WITHOUT_DATABASE_SECONDS if is_away else _BELIEVED_SECONDS
        return known if known.age_seconds() < believed else None

    async def _looked_up(self, digest: bytes) -> _Found:
        try:
            async with self._database.connection() as connection:
                cursor = await connection.execute(
                    "SELECT principal, tier, is_service, expire_time FROM api_keys"
                    " WHERE digest = %s AND revoke_time IS NULL",
                    (digest,),
                )
                found = _found(await cursor.fetchone())
        except DependencyUnavailable:
            self._away_until = time.monotonic() + _DATABASE_ASKED_AGAIN_SECONDS
            known = self._fresh(digest)
            if known is None:
                raise
            return known
        self._known[digest] = found
        self._known.move_to_end(digest)
        if len(self._known) > _CACHED_MAX:
            self._known.popitem(last=False)
        return found


@dataclass(frozen=True)
class NewKey:
    """A key as it is shown once and never again."""

    key: str
    hint: str


async def create(
    database: Database,
    principal: str,
    tier: str,
    *,
    is_service: bool = False,
    label: str = "",
    expire_time: datetime | None = None,
) -> NewKey:
    """Makes a key and stores its digest."""
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    hint = key[:_HINT_CHARACTERS]
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO api_keys (digest, hint, principal, tier, is_service, label, expire_time)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (digest_of(key), hint, principal, tier, is_service, label, expire_time),
        )
    return NewKey(key, hint)


async def revoke(database: Database, hint: str) -> int:
    """Revokes the keys that begin so; says how many there were."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "UPDATE api_keys SET revoke_time = now() WHERE hint = %s AND revoke_time IS NULL",
            (hint,),
        )
        return cursor.rowcount


async def listed(database: Database) -> list[dict[str, Any]]:
    """All keys, newest first, without anything that opens."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT hint, principal, tier, is_service, label, create_time, expire_time,"
            " revoke_time FROM api_keys ORDER BY create_time DESC LIMIT 1000"
        )
        return await cursor.fetchall()


def digest_of(key: str) -> bytes:
    """What the database knows of a key."""
    return hashlib.sha256(key.encode()).digest()


def _found(row: dict[str, Any] | None) -> _Found:
    if row is None:
        return _Found(None, None, time.monotonic())
    expire_time = row["expire_time"]
    return _Found(
        Caller(row["principal"], row["tier"], row["is_service"]),
        expire_time.timestamp() if expire_time is not None else None,
        time.monotonic(),
    )
