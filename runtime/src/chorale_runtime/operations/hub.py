"""One listening connection for the whole process, and everyone who waits for what it hears."""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from chorale_runtime.database import Database, DatabaseUnavailable
from chorale_runtime.operations.failures import detail_of

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 0.5
SILENCE_SECONDS = 10.0  # after which the connection is asked whether it still lives


class Hub:
    """Hears `event <id>`, `cancel <id>` and `work <queue>` and wakes who asked for it.

    What happens while the connection is down is not heard, so whoever waits is woken
    once it is back, and looks for himself.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[uuid.UUID, set[asyncio.Event]] = defaultdict(set)
        self._queues: dict[str, asyncio.Event] = {}
        self.on_cancel: Callable[[uuid.UUID], None] = lambda _: None

    @contextmanager
    def watching(self, identity: uuid.UUID) -> Iterator[asyncio.Event]:
        """Lend an event that is set whenever the operation may have changed."""
        changed = asyncio.Event()
        self._watchers[identity].add(changed)
        try:
            yield changed
        finally:
            self._watchers[identity].discard(changed)
            if not self._watchers[identity]:
                del self._watchers[identity]

    def queue(self, name: str) -> asyncio.Event:
        """Return the event that is set whenever the queue may hold new work."""
        return self._queues.setdefault(name, asyncio.Event())

    async def listen(self) -> None:
        """Listen until cancelled, over however many connections it takes."""
        while True:
            try:
                await self._listen_once()
            except (DatabaseUnavailable, psycopg.Error) as error:
                logger.warning("operations_listener_lost", extra={"detail": detail_of(error)})
            except ValueError:
                # Anyone in the database may notify anything; what we cannot read is not ours.
                logger.warning("operations_heard_nonsense", exc_info=True)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        channel = f"chorale_operations_{self._database.schema}"
        async with self._database.dedicated() as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self.wake_all()
            while True:
                async for heard in connection.notifies(timeout=SILENCE_SECONDS):
                    self._hear(heard.payload)
                await connection.execute("SELECT 1")

    def _hear(self, payload: str) -> None:
        kind, _, subject = payload.partition(" ")
        if kind == "work" and subject in self._queues:
            self._queues[subject].set()
        elif kind == "event":
            for changed in self._watchers.get(uuid.UUID(subject), ()):
                changed.set()
        elif kind == "cancel":
            self.on_cancel(uuid.UUID(subject))

    def wake_all(self) -> None:
        """Let everyone look for himself."""
        for watchers in self._watchers.values():
            for changed in watchers:
                changed.set()
        for waiting in self._queues.values():
            waiting.set()
