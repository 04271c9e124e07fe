"""A newer layout: patterns are indexed anew in it while the older one serves, and none is lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from importlib import resources

import numpy as np
import psycopg
import pytest
import pytest_asyncio
from chorale_fingerprint.layouts import LAYOUTS
from chorale_fingerprint.store.patterns import Changes, Pattern, PatternStore
from chorale_fingerprint.store.renewal import LayoutRenewal, comparable, serving
from chorale_fingerprint.store.similar import SimilarPatterns, Wanted
from chorale_runtime.database import Database

OLD, NEW = LAYOUTS["layouts/drums/1"], LAYOUTS["layouts/drums/2"]
ADA, EVE = "ada", "eve"

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.xdist_group("fingerprint-renewal"),
]


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """The service's tables, empty."""
    name = f"renewal_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    files = resources.files("chorale_fingerprint") / "migrations"
    async with Database.open(url, "fingerprint", files) as opened:
        yield opened


def _pattern(seed: int, layout: str = OLD.name, **said: object) -> Pattern:
    values = np.random.default_rng(seed).uniform(0, 1, 60)
    return Pattern(ADA, 1, layout, tuple(values.tolist()), midi=b"MThd", **said)  # type: ignore[arg-type]


async def _add(store: PatternStore, *patterns: Pattern) -> list[uuid.UUID]:
    request = uuid.uuid4()
    made = await store.add(patterns, request, request.bytes)
    return [each.name for each in made if each.name is not None]


async def _found(database: Database, reader: str, seed: int, layout: str) -> list[uuid.UUID | None]:
    wanted, asked = LAYOUTS[layout], _pattern(seed)
    answer = await SimilarPatterns(database).search(
        reader, wanted, wanted.unit(asked.values), Wanted(), 0.999, 20
    )
    return [each.pattern.name for each in answer.found]


async def _rows(database: Database, query: str) -> list[tuple[object, ...]]:
    async with database.connection() as connection:
        rows = await (await connection.execute(query)).fetchall()
    return [tuple(row.values()) for row in rows]


async def test_while_patterns_are_indexed_anew_the_old_layout_serves(database: Database) -> None:
    """At every moment of it all are found in the old one, and after it all in the new one."""
    store, renewal = PatternStore(database), LayoutRenewal(database, batch=2)
    names = [(await _add(store, _pattern(seed)))[0] for seed in range(7)]
    bass = Pattern(ADA, 2, "layouts/bass/1", (1.0,) * 50)
    await _add(store, bass)
    seen: list[tuple[int, int]] = []
    late: list[uuid.UUID] = []

    async def told(done: int, total: int) -> None:
        seen.append((done, total))
        async with database.connection() as connection:
            assert (await serving(connection))[1] is OLD
        for seed, name in enumerate(names):
            assert await _found(database, ADA, seed, OLD.name) == [name]
        late.extend(await _add(store, _pattern(100 + len(late))))

    renewed = await renewal.renew(NEW, told)
    assert seen == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert (renewed.pattern_count, renewed.left_count) == (11, 0)
    async with database.connection() as connection:
        assert (await serving(connection))[1] is NEW
    for seed, name in [*enumerate(names), *enumerate(late, start=100)]:
        assert await _found(database, ADA, seed, NEW.name) == [name]
    counts = await store.counts(ADA)
    assert (counts[OLD.name], counts[NEW.name], counts["1"]) == (11, 11, 11)
    # Each is still one pattern: listed once, its MIDI kept once.
    assert len(await store.page(ADA, 0, None, None, 100)) == 12
    assert await _rows(database, "SELECT count(*) FROM pattern WHERE midi <> ''") == [(11,)]
    assert (await store.find(ADA, names[0])).midi_available  # type: ignore[union-attr]


async def test_what_its_owner_does_is_done_in_every_layout(database: Database) -> None:
    """Made private it is private in both; deleted, no table has a row of it."""
    store, renewal = PatternStore(database), LayoutRenewal(database, batch=2)
    names = [(await _add(store, _pattern(seed, is_public=True)))[0] for seed in range(4)]
    hide = Changes(is_public=False, genre="dub")
    await asyncio.gather(
        renewal.renew(NEW),
        *(store.update(ADA, name, hide) for name in names[:2]),
        store.delete(ADA, names[3]),
    )
    for layout in (OLD.name, NEW.name):
        assert await _found(database, EVE, 0, layout) == []
        assert await _found(database, ADA, 0, layout) == [names[0]]
        assert await _found(database, EVE, 2, layout) == [names[2]]
        assert await _found(database, ADA, 3, layout) == []
    genres = await _rows(database, "SELECT DISTINCT layout, genre FROM pattern ORDER BY 1, 2")
    assert [genre for _, genre in genres] == ["", "dub"] * 2
    for name in names[:3]:
        assert await store.delete(ADA, name)
    for table in ("pattern", "song"):
        assert await _rows(database, f"SELECT count(*) FROM {table}") == [(0,)]


async def test_begun_again_it_goes_on(database: Database) -> None:
    """An attempt that was cut off is finished by the next, which does nothing twice."""
    store, renewal = PatternStore(database), LayoutRenewal(database, batch=2)
    await _add(store, *(_pattern(seed) for seed in range(5)))

    async def cut(done: int, total: int) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await renewal.renew(NEW, cut)
    assert (await renewal.counts(NEW)).pattern_count == 2
    async with database.connection() as connection:
        assert (await serving(connection))[1] is OLD
    assert (await renewal.renew(NEW)).pattern_count == 5
    assert (await renewal.renew(NEW)).pattern_count == 5


async def test_what_cannot_be_indexed_anew_is_counted_and_stays(database: Database) -> None:
    """Numbers of the newer layout mean nothing in the older: they stay searchable in their own."""
    store, renewal = PatternStore(database), LayoutRenewal(database)
    (name,) = await _add(store, _pattern(1, NEW.name))
    renewed = await renewal.renew(OLD)
    assert (renewed.pattern_count, renewed.left_count) == (0, 1)
    assert await _found(database, ADA, 1, NEW.name) == [name]


async def test_patterns_of_two_layouts_are_compared_in_the_newer() -> None:
    """Of the same numbers the newer layout speaks; of different ones none."""
    assert comparable(OLD.name, NEW.name) is comparable(NEW.name, OLD.name) is NEW
    assert comparable(OLD.name, OLD.name) is OLD
    assert comparable(OLD.name, "layouts/bass/1") is None
