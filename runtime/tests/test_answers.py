"""Answers that are kept, against a real PostgreSQL."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chorale_runtime import answers
from chorale_runtime.answers import Answers
from chorale_runtime.database import Database
from google.protobuf.wrappers_pb2 import Int64Value


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """A service's schema with the table that `Answers` says it needs."""
    table = (inspect.getdoc(answers) or "").partition("table:")[2]
    (tmp_path / "0001_answers.sql").write_text(table)
    async with Database.open(database_url, "songs", tmp_path, wait_seconds=10) as opened:
        yield opened


async def test_an_answer_is_found_by_its_whole_question(database: Database) -> None:
    """Any other question, longer, shorter or in another order, has none."""
    kept = Answers(database, keep_seconds=60)
    await kept.keep(("beats", 1, "a"), Int64Value(value=7))
    assert await kept.find(("beats", 1, "a"), Int64Value) == Int64Value(value=7)
    for other in (("beats", 1), ("beats", 1, "a", ""), ("beats", "a", 1), ()):
        assert await kept.find(other, Int64Value) is None


async def test_an_answer_is_forgotten_in_time_and_kept_anew(database: Database) -> None:
    """What is too old is not found, leaves the table when others come, and may come back."""
    kept = Answers(database, keep_seconds=0.2)
    await kept.keep(("old",), Int64Value(value=1))
    await asyncio.sleep(0.3)
    assert await kept.find(("old",), Int64Value) is None
    await kept.keep(("new",), Int64Value(value=2))
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM answers")).fetchone()
    assert row == {"count": 1}
    await kept.keep(("old",), Int64Value(value=1))
    assert await kept.find(("old",), Int64Value) == Int64Value(value=1)


async def test_many_may_keep_the_same_answer_at_once(database: Database) -> None:
    """Replicas that were asked the same do not get in each other's way."""
    kept = Answers(database, keep_seconds=60)
    await asyncio.gather(*(kept.keep(("same",), Int64Value(value=3)) for _ in range(20)))
    assert await kept.find(("same",), Int64Value) == Int64Value(value=3)
