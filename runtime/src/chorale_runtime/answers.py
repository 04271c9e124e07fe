"""Answers that were given before: kept under what was asked, for a while.

The service's own migrations make the table:

    CREATE TABLE answers (
        key bytea PRIMARY KEY,
        answer bytea NOT NULL,
        expire_time timestamptz NOT NULL
    );
    CREATE INDEX answers_expire_time ON answers (expire_time);
"""

import hashlib
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from chorale_runtime.database import Database

M = TypeVar("M", bound=Message)

_FORGOTTEN_AT_ONCE = 100  # rows: enough to keep pace, too few to be felt


class Answers:
    """Keeps answers in the service's own schema, so that any replica finds them."""

    def __init__(self, database: Database, keep_seconds: float) -> None:
        self._database, self._keep_seconds = database, keep_seconds

    async def find(self, question: Iterable[object], kind: type[M]) -> M | None:
        """The answer to this question, if it is kept."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT answer FROM answers WHERE key = %s AND expire_time > now()",
                (_key(question),),
            )
            row = await cursor.fetchone()
        return None if row is None else kind.FromString(row["answer"])

    async def keep(self, question: Iterable[object], answer: Message) -> None:
        """Keeps an answer, and forgets some whose time is over."""
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO answers (key, answer, expire_time)"
                " VALUES (%s, %s, now() + make_interval(secs => %s))"
                " ON CONFLICT (key) DO UPDATE SET expire_time = EXCLUDED.expire_time",
                (_key(question), answer.SerializeToString(), self._keep_seconds),
            )
            await connection.execute(
                "DELETE FROM answers WHERE key IN (SELECT key FROM answers"
                " WHERE expire_time <= now() LIMIT %s FOR UPDATE SKIP LOCKED)",
                (_FORGOTTEN_AT_ONCE,),
            )


def _key(question: Iterable[object]) -> bytes:
    return hashlib.sha256("\n".join(str(part) for part in question).encode()).digest()
