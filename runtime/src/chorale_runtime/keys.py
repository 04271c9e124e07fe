"""`chorale-keys`: makes, lists and revokes API keys.

    chorale-keys create --principal ada --tier starter --days 90
    chorale-keys list
    chorale-keys revoke ck_Ab3dEf

The database is that of the services: CHORALE_DATABASE_URL.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from chorale_runtime import access, apikeys
from chorale_runtime.database import Database
from chorale_runtime.dependencies import DependencyUnavailable

_PATIENCE_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Runs one command; 0 when done, 1 when not, 2 when asked wrongly."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    url = environ.get("CHORALE_DATABASE_URL", "")
    if not url:
        print("Set CHORALE_DATABASE_URL to the database of the services.", file=sys.stderr)  # noqa: T201
        return 2
    try:
        print(asyncio.run(_run(asked, url)))  # noqa: T201
    except (DependencyUnavailable, TimeoutError):
        print("The database cannot be reached.", file=sys.stderr)  # noqa: T201
        return 1
    except KeyRefused as refused:
        print(refused, file=sys.stderr)  # noqa: T201
        return 1
    return 0


class KeyRefused(Exception):
    """What was asked for cannot be done."""


async def _run(asked: argparse.Namespace, url: str) -> str:
    async with asyncio.timeout(_PATIENCE_SECONDS), access.database(url) as database:
        if asked.command == "create":
            return await _create(asked, database)
        if asked.command == "revoke":
            return await _revoke(asked.key, database)
        return await _list(database)


async def _create(asked: argparse.Namespace, database: Database) -> str:
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT tier FROM tiers ORDER BY tier")
        tiers = [row["tier"] for row in await cursor.fetchall()]
    if asked.tier not in tiers:
        raise KeyRefused(f"There is no tier {asked.tier!r}; there are {', '.join(tiers)}.")
    expire_time = datetime.now(UTC) + timedelta(days=asked.days) if asked.days else None
    made = await apikeys.create(
        database,
        asked.principal,
        asked.tier,
        is_service=asked.service,
        label=asked.label,
        expire_time=expire_time,
    )
    return f"{made.key}\nThis is the only time it is shown. Revoke it by {made.hint}."


async def _revoke(hint: str, database: Database) -> str:
    if not await apikeys.revoke(database, hint):
        raise KeyRefused(f"No key that opens begins with {hint}.")
    return f"Revoked. Every replica refuses {hint}... within ten seconds."


async def _list(database: Database) -> str:
    lines = []
    for row in await apikeys.listed(database):
        state = "revoked" if row["revoke_time"] else "opens"
        until = f"{row['expire_time']:%Y-%m-%d}" if row["expire_time"] else "-"
        lines.append(
            f"{row['hint']}  {state:8} {row['principal']}  {row['tier']}  until {until}"
            f"  {row['label']}".rstrip()
        )
    return "\n".join(lines) or "There are no keys."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chorale-keys", description=(__doc__ or "").split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and show it once")
    create.add_argument("--principal", required=True, help="who the key is")
    create.add_argument("--tier", required=True, help="what it may do, such as free or studio")
    create.add_argument("--days", type=int, default=0, help="how long it opens; 0: for ever")
    create.add_argument("--label", default="", help="a note for people")
    create.add_argument("--service", action="store_true", help="the key of a service of the mesh")
    commands.add_parser("list", help="list keys, newest first")
    revoke = commands.add_parser("revoke", help="revoke a key")
    revoke.add_argument("key", help="the key's first characters, as `list` shows them")
    return parser
