"""The tables under operations: procrastinate's job queue, and ours beside it."""

from importlib import resources

from procrastinate.schema import SchemaManager

from chorale_runtime.database import Database
from chorale_runtime.migrations import Migration

QUEUE_SOURCE = "procrastinate"
SOURCE = "operations"


async def migrate(database: Database) -> None:
    """Bring both up to date in the service's own schema."""
    await database.migrate(QUEUE_SOURCE, queue_migrations())
    await database.migrate(SOURCE, resources.files(__package__) / "migrations")


def queue_migrations() -> list[Migration]:
    """The schema of the installed procrastinate, as one step.

    A later release of procrastinate changes the text and is refused as a changed
    migration. Whoever raises the pinned version freezes today's text as step one
    and adds that release's own migrations as further steps.
    """
    return [Migration(1, "queue", SchemaManager.get_schema())]
