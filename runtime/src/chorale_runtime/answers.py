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
from collections.abc import Iterable, Sequence
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
        return (await self.find_all([(question, kind)]))[0]

    async def find_all(self, asked: Sequence[tuple[Iterable[object], type[M]]]) -> list[M | None]:
        """The answers to these questions, each if it is kept, in one look."""
        keys = [_key(question) for question, _ in asked]
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT key, answer FROM answers WHERE key = ANY(%s) AND expire_time > now()",
                (keys,),
            )
            kept = {bytes(row["key"]): row["answer"] for row in await cursor.fetchall()}
        return [
            kind.FromString(kept[key]) if key in kept else None
            for key, (_, kind) in zip(keys, asked, strict=True)
        ]

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
