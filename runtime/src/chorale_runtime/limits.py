"""How many requests a caller may make: counted in PostgreSQL, paid for in advance.

A replica leases requests for a principal in one statement and spends them without asking
again. Leases shrink towards the limit and are handed back when they lie idle, so the total
over all replicas never passes the limit and little of it lies fallow.

While the database is away, each replica lets every principal make a tenth of its hourly limit
and charges it afterwards; beyond that calls are UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from chorale_runtime.caller import Caller
from chorale_runtime.calls import Trailers
from chorale_runtime.database import Database
from chorale_runtime.dependencies import DependencyUnavailable
from chorale_runtime.refusals import CredentialsInvalid, RateLimited

WINDOW_SECONDS = 3600

_LEASE_MAX = 256
_LEASE_IDLE_SECONDS = 10.0
_DENIAL_BELIEVED_SECONDS = 2.0
_DATABASE_ASKED_AGAIN_SECONDS = 1.0
_TIERS_READ_SECONDS = 30.0
_SPARE_SHARE = 10

_log = logging.getLogger(__name__)


@dataclass
class _Account:
    """What one replica holds for one principal."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    left: int = 0
    remaining_elsewhere: int = 0
    window_start: datetime | None = None
    ends_at: float = 0.0
    denied_until: float = 0.0
    used_at: float = 0.0
    owed: int = 0
    """Calls let pass while the database was away."""

    def spend(self, now: float, limit: int) -> Trailers | None:
        """Takes one request of the lease, if it holds one of the current hour."""
        self.used_at = now
        if self.left <= 0 or now >= self.ends_at:
            return None
        self.left -= 1
        return (
            ("x-ratelimit-limit", str(limit)),
            ("x-ratelimit-remaining", str(self.left + self.remaining_elsewhere)),
            ("x-ratelimit-reset", str(int(self.ends_at - now))),
        )


class RateLimits:
    """Counts requests per principal and hour over all replicas."""

    def __init__(self, database: Database, window_seconds: int = WINDOW_SECONDS) -> None:
        self._database, self._window_seconds = database, window_seconds
        self._tiers: dict[str, int | None] = {}
        self._accounts: dict[str, _Account] = {}
        self._away_until = 0.0

    async def take(self, who: Caller) -> Trailers:
        """Counts one call, or raises `RateLimited`."""
        if who.is_service:
            return ()  # what a service does for someone was counted where they asked for it
        if who.tier not in self._tiers:
            raise CredentialsInvalid(f"the tier {who.tier!r} is not known here")
        limit = self._tiers[who.tier]
        if limit is None:
            return ()
        account = self._accounts.get(who.principal)
        if account is None:
            account = self._accounts[who.principal] = _Account()
        now = time.monotonic()
        return account.spend(now, limit) or await self._refilled(who, account, limit)

    async def read_tiers(self) -> None:
        """Reads what each tier may do."""
        async with self._database.connection() as connection:
            cursor = await connection.execute("SELECT tier, requests_per_hour FROM tiers")
            rows = await cursor.fetchall()
        self._tiers = {row["tier"]: row["requests_per_hour"] for row in rows}

    async def run(self) -> None:
        """Keeps tiers fresh and hands idle leases back, until cancelled."""
        tiers_read_at = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.hand_back(time.monotonic() - _LEASE_IDLE_SECONDS)
                if time.monotonic() - tiers_read_at >= _TIERS_READ_SECONDS:
                    await self.read_tiers()
                    tiers_read_at = time.monotonic()
            except DependencyUnavailable:
                continue  # the probes say so already
            except Exception:
                _log.exception("limits_not_kept")

    async def hand_back(self, unused_since: float) -> None:
        """Returns leases that nobody has drawn on since then, and forgets their accounts."""
        idle = {
            principal: account
            for principal, account in self._accounts.items()
            if account.used_at <= unused_since and not account.lock.locked() and not account.owed
        }
        for principal in idle:
            del self._accounts[principal]
        held = {principal: account for principal, account in idle.items() if account.left > 0}
        if held:
            await self._return(held.items())

    async def _return(self, held: Iterable[tuple[str, _Account]]) -> None:
        async with self._database.connection() as connection:
            cursor = connection.cursor()
            await cursor.executemany(
                "UPDATE usage SET used = greatest(0, used - %s)"
                " WHERE principal = %s AND window_start = %s",
                # In one order everywhere, so that two replicas cannot block each other.
                sorted((a.left, principal, a.window_start) for principal, a in held),
            )

    async def _refilled(self, who: Caller, account: _Account, limit: int) -> Trailers:
        async with account.lock:
            now = time.monotonic()
            # Someone else may have refilled it, or been denied, while this call waited.
            spent = account.spend(now, limit)
            if spent is not None:
                return spent
            if now >= account.denied_until:
                try:
                    await self._lease(who.principal, account, limit)
                except DependencyUnavailable:
                    return self._spare(account, limit)
            spent = account.spend(now, limit)
            if spent is None:
                raise self._denial(who, account, limit)
            return spent

    async def _lease(self, principal: str, account: _Account, limit: int) -> None:
        if time.monotonic() < self._away_until:
            raise DependencyUnavailable("database", "it was away a moment ago")
        try:
            async with self._database.connection() as connection:
                cursor = await connection.execute(
                    "SELECT * FROM lease(%s, %s, %s, %s, %s)",
                    (principal, limit, self._window_seconds, _LEASE_MAX, account.owed),
                )
                row = await cursor.fetchone()
        except DependencyUnavailable:
            self._away_until = time.monotonic() + _DATABASE_ASKED_AGAIN_SECONDS
            raise
        assert row is not None  # the function returns one row
        now = time.monotonic()
        account.owed = 0
        account.left, account.remaining_elsewhere = row["granted"], row["remaining"]
        account.window_start, account.ends_at = row["started"], now + row["resets_in"]
        if not account.left:
            account.denied_until = now + min(_DENIAL_BELIEVED_SECONDS, row["resets_in"])

    def _spare(self, account: _Account, limit: int) -> Trailers:
        if account.owed >= max(1, limit // _SPARE_SHARE):
            raise DependencyUnavailable("database", "and what may pass without it has passed")
        account.owed += 1
        return ()

    def _denial(self, who: Caller, account: _Account, limit: int) -> RateLimited:
        seconds = max(1.0, account.ends_at - time.monotonic())
        return RateLimited(who.principal, who.tier, limit, self._window_seconds, seconds)
