"""Numbered SQL files, each applied once to one schema, in order, under one lock."""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")

# One lock for the whole database and not one per schema: two services that both say
# CREATE EXTENSION IF NOT EXISTS at once would fail with a unique violation.
LOCK_KEY = 0x63_68_6F_72_61_6C_65  # "chorale"


@dataclass(frozen=True)
class Migration:
    """One step of a schema's history."""

    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        """What is recorded, so that a file changed after it was applied is noticed."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class MigrationsInvalid(Exception):
    """The migration files do not form a history that can be applied."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source, self.reason = source, reason

    def __str__(self) -> str:
        return f"The migrations of {self.source!r} cannot be applied: {self.reason}."


def read(source: str, directory: Traversable) -> list[Migration]:
    """Read `NNNN_name.sql` files, which must be numbered 1, 2, 3, ... without gaps."""
    found = []
    for file in directory.iterdir():
        match = FILE_NAME.match(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text("utf-8")))
        elif file.name.endswith(".sql"):
            raise MigrationsInvalid(source, f"{file.name} is not named NNNN_name.sql")
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise MigrationsInvalid(source, f"numbers run {numbers}, they must run 1, 2, 3, ...")
    return found


async def apply(
    connection: AsyncConnection[DictRow], schema: str, source: str, migrations: Sequence[Migration]
) -> list[str]:
    """Bring `schema` up to date with `migrations` and return the names of those applied now.

    `connection` is in autocommit and gives up its session afterwards: the lock is
    a session's, since each migration commits by itself.
    """
    await connection.execute("SET statement_timeout = 0")
    await connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
    try:
        await _prepare(connection, schema)
        recorded = await _recorded(connection, source)
        _refuse_changed(source, migrations, recorded)
        pending = [migration for migration in migrations if migration.number not in recorded]
        for migration in pending:
            await _apply_one(connection, source, migration)
        return [migration.name for migration in pending]
    finally:
        if not connection.broken:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))


async def _prepare(connection: AsyncConnection[DictRow], schema: str) -> None:
    await connection.execute(
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema))
    )
    await connection.execute(
        """
        CREATE TABLE IF NOT EXISTS migrations (
            source text NOT NULL,
            number integer NOT NULL,
            name text NOT NULL,
            digest text NOT NULL,
            apply_time timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (source, number)
        )
        """
    )


async def _recorded(connection: AsyncConnection[DictRow], source: str) -> dict[int, str]:
    cursor = await connection.execute(
        "SELECT number, digest FROM migrations WHERE source = %s", (source,)
    )
    return {row["number"]: row["digest"] for row in await cursor.fetchall()}


def _refuse_changed(source: str, migrations: Sequence[Migration], recorded: dict[int, str]) -> None:
    for migration in migrations:
        if recorded.get(migration.number, migration.digest) != migration.digest:
            raise MigrationsInvalid(
                source,
                f"{migration.number:04d}_{migration.name} was changed after it was applied;"
                " put it back and write a new one",
            )
    newer = sorted(set(recorded) - {migration.number for migration in migrations})
    if newer:
        # A rollout: the next version migrated first. Migrations only add, so this one still runs.
        logger.warning("migrations_newer", extra={"source": source, "numbers": newer})


async def _apply_one(
    connection: AsyncConnection[DictRow], source: str, migration: Migration
) -> None:
    async with connection.transaction():
        # Files are the service's own and are sent as they stand: without parameters the driver
        # neither looks for placeholders nor forbids several statements.
        await connection.execute(migration.text.encode())
        await connection.execute(
            "INSERT INTO migrations (source, number, name, digest) VALUES (%s, %s, %s, %s)",
            (source, migration.number, migration.name, migration.digest),
        )
    logger.info("migration_applied", extra={"source": source, "migration": migration.name})
