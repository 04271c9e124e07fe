"""Who may call and how often: the identity and limits that the settings ask for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from chorale_runtime.calls import Identity, Limits
from chorale_runtime.identity import CredentialIdentity, LocalIdentity
from chorale_runtime.settings import ServerSettings, SettingsRefused

if TYPE_CHECKING:
    from chorale_runtime.database import Database

SCHEMA = "identity"
_CONNECTIONS_MAX = 3
SERVICE_TOKEN_CHARACTERS = 32

_log = logging.getLogger(__name__)


class NoLimits:
    """Counts nothing: in local mode, and where there is no database to count in."""

    async def take(self, _who: object) -> tuple[()]:
        """Lets the call pass."""
        return ()


@dataclass(frozen=True)
class Access:
    """What stands at the door."""

    identity: Identity
    limits: Limits


LOCAL_ACCESS = Access(LocalIdentity(), NoLimits())


@asynccontextmanager
async def opened(settings: ServerSettings) -> AsyncIterator[Access]:
    """Opens what identity and limits need; in local mode that is nothing."""
    if not settings.authenticates:
        yield LOCAL_ACCESS
    elif settings.database_url:
        async with (
            database(settings.database_url) as opened_database,
            _counted(settings, opened_database) as access,
        ):
            yield access
    else:
        if settings.api_keys:
            raise SettingsRefused(
                ("CHORALE_API_KEYS needs CHORALE_DATABASE_URL: keys live in the database.",)
            )
        _log.warning("requests_not_limited", extra={"needed": "CHORALE_DATABASE_URL"})
        yield Access(_identity(settings, None), LOCAL_ACCESS.limits)


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    """Opens the schema that holds keys, tiers and usage."""
    # Imported late: a service without a database does not pay for its driver.
    from chorale_runtime.database import Database

    files = resources.files("chorale_runtime") / "identity_migrations"
    async with Database.open(url, SCHEMA, files, pool_max=_CONNECTIONS_MAX) as opened_database:
        yield opened_database


@asynccontextmanager
async def _counted(settings: ServerSettings, opened_database: Database) -> AsyncIterator[Access]:
    from chorale_runtime.dependencies import DependencyUnavailable
    from chorale_runtime.limits import RateLimits

    limits = RateLimits(opened_database)
    await limits.read_tiers()
    keeping = asyncio.create_task(limits.run(), name="limits")
    try:
        yield Access(_identity(settings, opened_database), limits)
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        with contextlib.suppress(DependencyUnavailable):
            await limits.hand_back(float("inf"))


def _identity(settings: ServerSettings, opened_database: Database | None) -> Identity:
    from chorale_runtime.apikeys import ApiKeys
    from chorale_runtime.tokens import Tokens

    keys = ApiKeys(opened_database) if settings.api_keys and opened_database is not None else None
    patterns = settings.tls_services if settings.tls_client_ca_file else ""
    services = tuple(pattern.strip() for pattern in patterns.split(",") if pattern.strip())
    tokens = Tokens(settings) if settings.jwt_keys_file else None
    if 0 < len(settings.service_token) < SERVICE_TOKEN_CHARACTERS:
        raise SettingsRefused(
            (
                f"CHORALE_SERVICE_TOKEN has {len(settings.service_token)} characters; at least"
                f" {SERVICE_TOKEN_CHARACTERS} are needed, since it opens everything.",
            )
        )
    return CredentialIdentity(tokens, keys, services, settings.service_token)
