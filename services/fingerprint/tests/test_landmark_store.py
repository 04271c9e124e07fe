"""Landmarks as rows: found wherever they lie, merged without loss, deleted without trace."""

import asyncio
import math
import sys
import uuid
from collections.abc import AsyncIterator
from importlib import resources

import numpy as np
import pytest
import pytest_asyncio
from chorale_fingerprint.landmarks import FEW, Landmarks, landmarks, looks, probes
from chorale_fingerprint.peaks import Peaks
from chorale_fingerprint.placing import Hits
from chorale_fingerprint.store import landmarks as landmark_rows
from chorale_fingerprint.store.landmarks import LandmarkStore
from chorale_fingerprint.store.recordings import Enrolled, Recording, Store, Stretch
from chorale_runtime.database import Database

SCHEMA = "landmark_store_tests"
OWNER = "ada"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(postgres_url: str) -> AsyncIterator[Database]:
    """The service's tables, in a schema for these tests alone."""
    files = resources.files("chorale_fingerprint") / "migrations"
    async with Database.open(postgres_url, SCHEMA, files) as database:
        yield database
        async with database.connection() as connection:
            await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest_asyncio.fixture(loop_scope="module")
async def database(opened: Database) -> Database:
    """Those tables, empty."""
    async with opened.connection() as connection:
        await connection.execute("TRUNCATE recording, copy, posting, shelf CASCADE")
        await connection.execute("TRUNCATE landmark_segment CASCADE")
        await connection.execute("INSERT INTO shelf (owner) VALUES ('')")
    return opened


@pytest.fixture
def store(database: Database, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that makes a segment of every two recordings, and one of every three segments."""
    monkeypatch.setattr(landmark_rows, "FANOUT", 3)
    return Store(database, LandmarkStore(database, fresh_max=2))


def _peaks(seed: int, count: int = 300) -> Peaks:
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 5000, count)).astype(np.int32)
    pitches = random.integers(0, 3000, count).astype(np.int32)
    return Peaks(times, pitches, random.integers(200, 2000, count).astype(np.int32))


async def _add(store: Store, seed: int, peaks: Peaks | None = None) -> int:
    recording = Recording(
        name=uuid.UUID(int=seed),
        owner=OWNER,
        audio=f"audio/{seed:064x}",
        frame_count=1000,
        sample_rate_hz=44100,
    )
    codes = np.random.default_rng(seed).integers(0, 2**32, 50, dtype=np.uint32)
    enrolled = Enrolled(recording, codes, peaks=peaks or _peaks(seed))
    stretch = Stretch(recording.audio, 0, 1000)
    return (await store.add(enrolled, stretch, await store.shelves(OWNER))).id


async def _found(store: Store, seed: int) -> dict[int, int]:
    """How many landmarks of each recording the query shares."""
    shelves = await store.shelves(OWNER)
    hits = await store.landmarks.find(shelves.ids, probes(_peaks(seed), 1))
    names, counts = np.unique(hits.recordings, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


async def _rows(database: Database, query: str) -> list[int]:
    async with database.connection() as connection:
        rows = await (await connection.execute(query)).fetchall()
    return [int(next(iter(row.values()))) for row in rows]


LEVELS = "SELECT level FROM landmark_segment ORDER BY level"
KEPT = """SELECT (SELECT coalesce(sum(length(data)), 0) FROM landmark_fresh)
    + (SELECT coalesce(sum(length(data)), 0) FROM landmark_block)"""


async def test_what_is_written_is_found_at_its_place(store: Store) -> None:
    """Every landmark of a fresh recording is found, where it is."""
    recording = await _add(store, 1)
    shelves = await store.shelves(OWNER)
    asked = landmarks(_peaks(1))
    hits = await store.landmarks.find(shelves.ids, asked)
    assert set(hits.recordings.tolist()) == {recording}
    assert np.count_nonzero(hits.times == hits.query_times) >= len(asked)
    assert np.count_nonzero(hits.pitches == hits.query_pitches) >= len(asked)


async def test_a_lookup_goes_on_where_it_stopped(store: Store) -> None:
    """Few landmarks first, then all, then more: each finds what it finds when asked alone."""
    for seed in range(1, 6):
        await _add(store, seed)
    shelves = await store.shelves(OWNER)
    lookup = store.landmarks.lookup(shelves.ids)
    asked = list(looks(_peaks(2), few_seconds=math.inf))
    assert [len(each) for each in asked[:2]] == [FEW, len(landmarks(_peaks(2)))]
    for each in asked:
        assert _sorted(await lookup.find(each)) == _sorted(
            await store.landmarks.find(shelves.ids, each)
        )


def _sorted(hits: Hits) -> list[tuple[int, ...]]:
    return sorted(zip(*(column.tolist() for column in vars(hits).values()), strict=True))


async def test_merging_loses_and_doubles_nothing(store: Store, database: Database) -> None:
    """Through two levels of segments each recording is found by as many landmarks as alone."""
    recordings = [await _add(store, seed) for seed in range(1, 10)]
    assert await _rows(database, LEVELS) == [1, 2]
    for seed, recording in enumerate(recordings, start=1):
        found = await _found(store, seed)
        assert found[recording] >= len(landmarks(_peaks(seed)))
    total = sum(len(landmarks(_peaks(seed))) for seed in range(1, 10))
    assert await _rows(database, KEPT) == [12 * total]


async def test_what_very_many_share_is_kept_apart(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of more recordings than say anything are not read, and neither lost nor left."""
    monkeypatch.setattr(landmark_rows, "_APART_MIN", 2)
    shared = _peaks(1)
    for seed in range(1, 7):
        await _add(store, seed, Peaks(*(np.concatenate(pair) for pair in _joined(shared, seed))))
    assert await _rows(database, LEVELS) == [2]
    shelves = await store.shelves(OWNER)
    hits = await store.landmarks.find(shelves.ids, landmarks(shared))
    assert len(hits.times) < len(landmarks(shared))
    own = await store.landmarks.find(shelves.ids, landmarks(_peaks(4)))
    assert np.bincount(own.recordings).max() > len(landmarks(_peaks(4))) / 2
    for seed in range(1, 7):
        assert await store.delete(OWNER, uuid.UUID(int=seed))
    assert await _rows(database, KEPT) == [0]


def _joined(shared: Peaks, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns of what all share, and long after it of what is of this seed alone."""
    own = _peaks(seed)
    return [
        (shared.times, own.times + 9000),
        (shared.pitches, own.pitches),
        (shared.strengths, own.strengths),
    ]


async def test_other_music_shares_little(store: Store) -> None:
    """A query that is in no recording finds next to nothing."""
    for seed in range(1, 4):
        await _add(store, seed)
    assert sum((await _found(store, 99)).values()) < len(landmarks(_peaks(99))) / 10


async def test_deleting_leaves_no_landmark(store: Store, database: Database) -> None:
    """Fresh or merged, a deleted recording's landmarks are in no row; those of others stay."""
    recordings = [await _add(store, seed) for seed in range(1, 8)]
    for seed in (1, 4, 7):
        assert await store.delete(OWNER, uuid.UUID(int=seed))
        assert recordings[seed - 1] not in await _found(store, seed)
    left = [seed for seed in range(1, 8) if seed not in (1, 4, 7)]
    total = sum(len(landmarks(_peaks(seed))) for seed in left)
    assert await _rows(database, KEPT) == [12 * total]
    for seed in left:
        assert recordings[seed - 1] in await _found(store, seed)
        assert await store.delete(OWNER, uuid.UUID(int=seed))
    assert await _rows(database, KEPT) == [0]
    assert await _rows(database, "SELECT count(*) FROM landmark_block") == [0]


async def test_folding_and_deleting_at_once_agree(store: Store, database: Database) -> None:
    """While segments are made, recordings are deleted: what is left is what should be."""
    for seed in range(1, 10):
        await _add(store, seed)
    shelf = (await _rows(database, "SELECT shelf FROM recording LIMIT 1"))[0]
    await asyncio.gather(
        *(store.landmarks.fold(shelf) for _ in range(3)),
        *(store.delete(OWNER, uuid.UUID(int=seed)) for seed in range(1, 5)),
    )
    total = sum(len(landmarks(_peaks(seed))) for seed in range(5, 10))
    assert await _rows(database, KEPT) == [12 * total]


async def test_a_crash_in_the_middle_leaves_nothing(store: Store, database: Database) -> None:
    """When writing landmarks fails, there is no recording either."""

    class Broken(LandmarkStore):
        async def write(self, *_: object) -> None:
            raise ConnectionError

    broken = Store(database, Broken(database))
    with pytest.raises(ConnectionError):
        await _add(broken, 1)
    assert await _rows(database, "SELECT count(*) FROM recording") == [0]
    assert await _rows(database, "SELECT count(*) FROM posting") == [0]


# Enrols, or merges, up to the middle of the transaction, says so, and waits to be killed.
KILLED = """
import asyncio, sys, uuid
from importlib import resources
import numpy as np
from chorale_fingerprint.peaks import Peaks
from chorale_fingerprint.placing import Hits
from chorale_fingerprint.store import landmarks
from chorale_fingerprint.store.recordings import Enrolled, Recording, Store, Stretch
from chorale_runtime.database import Database

url, schema, what = sys.argv[1:]
random = np.random.default_rng(50)
columns = [np.sort(random.integers(200, 3000, 300)).astype(np.int32) for _ in range(3)]

async def halted(*_):
    print("in the middle", flush=True)
    await asyncio.sleep(600)

class Halting(landmarks.LandmarkStore):
    async def write(self, *said):
        await super().write(*said)
        if what == "enrolling":
            await halted()

async def main():
    files = resources.files("chorale_fingerprint") / "migrations"
    async with Database.open(url, schema, files) as database:
        store = Store(database, Halting(database, fresh_max=2))
        if what == "merging":
            landmarks.write_blocks = halted
        name, audio = uuid.UUID(int=50), "audio/" + "5" * 64
        recording = Recording(name, "ada", audio, 1000, 44100)
        enrolled = Enrolled(recording, np.arange(50, dtype=np.uint32), peaks=Peaks(*columns))
        await store.add(enrolled, Stretch(audio, 0, 1000), await store.shelves("ada"))

asyncio.run(main())
"""


@pytest.mark.parametrize(("what", "recordings"), [("enrolling", 1), ("merging", 2)])
async def test_killed_in_the_middle_nothing_is_half_done(
    store: Store, database: Database, postgres_url: str, what: str, recordings: int
) -> None:
    """A process that is killed while it enrols leaves no trace; while it merges, all as it was."""
    await _add(store, 1)
    command = (sys.executable, "-c", KILLED, postgres_url, SCHEMA, what)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"in the middle\n"
    process.kill()
    await process.wait()
    assert await _rows(database, "SELECT count(*) FROM recording") == [recordings]
    assert await _rows(database, "SELECT count(*) FROM landmark_fresh") == [recordings]
    assert await _rows(database, "SELECT count(*) FROM landmark_segment") == [0]
    assert await _rows(database, "SELECT count(*) FROM landmark_block") == [0]
    assert len(await _found(store, 1)) >= 1
    # Whoever comes next is not held up by what the killed one had locked.
    await _add(store, 2)
    assert await store.delete(OWNER, uuid.UUID(int=1))


async def test_nothing_asked_finds_nothing(store: Store) -> None:
    """A query without landmarks is no error."""
    await _add(store, 1)
    nothing = Landmarks(np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32))
    shelves = await store.shelves(OWNER)
    assert len((await store.landmarks.find(shelves.ids, nothing)).times) == 0
