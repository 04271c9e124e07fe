"""Brings the schema of one service up to date before any of its pods is replaced.

A service would do the same when it starts. Done first and by itself, a migration that cannot be
applied ends the upgrade while every old pod still answers.
"""

import asyncio
import os
import sys
from importlib import resources
from pathlib import Path

from chorale_runtime import access
from chorale_runtime.database import Database
from chorale_runtime.operations import schema


async def migrate(service: str, url: str, wait_seconds: float) -> None:
    """Applies what the service adds, and what its operations and its identity add."""
    files = resources.files(f"chorale_{service}") / "migrations"
    async with Database.open(url, service, files, wait_seconds=wait_seconds) as database:
        await schema.migrate(database)
    async with access.database(url):
        sys.stdout.write(f"The schema of {service} is up to date.\n")


if __name__ == "__main__":
    secret = Path(os.environ["CHORALE_DATABASE_URL_FILE"])
    asyncio.run(migrate(sys.argv[1], secret.read_text().strip(), wait_seconds=240))
