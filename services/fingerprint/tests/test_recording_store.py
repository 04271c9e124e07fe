"""Recordings as rows: whole or not at all, found by their codes, seen by those who may."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from importlib import resources

import numpy as np
import pytest
import pytest_asyncio
from chorale_audio.pcm import Encoding
from chorale_audio.source import Source
from chorale_audio.source import Store as AudioStore
from chorale_fingerprint import matching
from chorale_fingerprint.servicer.enrolling import Enroller, identity_of, new_recording
from chorale_fingerprint.servicer.searching import Searcher
from chorale_fingerprint.store.recordings import Enrolled, Recording, ShelfChanged, Store, Stretch
from chorale_fingerprint.store.songs import SongsOfRecordings
from chorale_runtime.database import Database

SCHEMA = "recording_store_tests"

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
    """Those tables as a new mesh has them: empty, but for the shelf of what is public."""
    async with opened.connection() as connection:
        await connection.execute("TRUNCATE recording, copy, posting, shelf CASCADE")
        await connection.execute("INSERT INTO shelf (owner) VALUES ('')")
    return opened


@pytest.fixture
def store(database: Database) -> Store:
    """The store on it."""
    return Store(database)


def _enrolled(owner: str, seed: int, is_public: bool = False) -> tuple[Enrolled, Stretch]:
    codes = np.random.default_rng(seed).integers(0, 2**32, 200, dtype=np.uint32)
    audio = f"audio/{seed:064x}"
    recording = Recording(
        name=uuid.UUID(int=seed),
        owner=owner,
        audio=audio,
        frame_count=1000,
        sample_rate_hz=44100,
        title=f"Song {seed}",
        labels={"mood": "calm"},
        is_public=is_public,
    )
    return Enrolled(recording, codes), Stretch(audio, 0, 1000)


async def _add(store: Store, owner: str, seed: int, is_public: bool = False) -> Enrolled:
    enrolled, stretch = _enrolled(owner, seed, is_public)
    return await store.add(enrolled, stretch, await store.shelves(owner))


async def _rows(database: Database, table: str) -> int:
    async with database.connection() as connection:
        row = await (await connection.execute(f"SELECT count(*) AS n FROM {table}")).fetchone()
    assert row is not None
    return int(row["n"])


async def test_what_was_enrolled_is_read_back(store: Store) -> None:
    """Every field and every code comes back as it went in."""
    added = await _add(store, "ada", 1)
    found = await store.known("ada", Stretch(added.recording.audio, 0, 1000))
    assert found is not None
    assert found.recording == added.recording
    assert np.array_equal(found.codes, added.codes)


async def test_codes_point_at_recording_and_shift(store: Store) -> None:
    """Looking codes up gives the recording, and how far they were shifted, first."""
    added = await _add(store, "ada", 1)
    await _add(store, "ada", 2)
    shelves = await store.shelves("ada")
    first, *_ = await store.candidates(shelves, matching.probes(added.codes[60:160], 100))
    assert first.shifts == {60}
    read = await store.read(shelves, [first.recording])
    assert read[first.recording].recording.name == added.recording.name


async def test_owners_see_their_own_and_what_is_public(store: Store) -> None:
    """A stranger's private recording is neither found nor counted; a public one is both."""
    private = await _add(store, "ada", 1)
    public = await _add(store, "ada", 2, is_public=True)
    shelves = await store.shelves("eve")
    assert shelves.code_count == len(public.codes)
    assert await store.candidates(shelves, matching.probes(private.codes, 100)) == []
    (seen,) = await store.candidates(shelves, matching.probes(public.codes, 100))
    assert await store.read(shelves, [seen.recording])
    assert await store.read(shelves, [seen.recording], owner="eve") == {}
    assert await store.known("eve", Stretch(private.recording.audio, 0, 1000)) is None


async def test_a_stranger_cannot_read_by_number(store: Store) -> None:
    """Guessing the number of a private recording yields nothing."""
    await _add(store, "ada", 1)
    await _add(store, "eve", 2)
    shelves = await store.shelves("eve")
    read = await store.read(shelves, range(100))
    assert [enrolled.recording.owner for enrolled in read.values()] == ["eve"]


@pytest.mark.parametrize("is_public", [False, True])
async def test_deleting_leaves_nothing(store: Store, database: Database, is_public: bool) -> None:
    """After deletion no row of the recording is left in any table."""
    added = await _add(store, "ada", 1, is_public)
    assert not await store.delete("eve", added.recording.name)
    assert await store.delete("ada", added.recording.name)
    assert [await _rows(database, table) for table in ("recording", "copy", "posting")] == [0, 0, 0]
    assert (await store.shelves("ada")).code_count == 0
    assert not await store.delete("ada", added.recording.name)


async def test_enrolling_is_whole_or_not_at_all(store: Store, database: Database) -> None:
    """Cancelled in the middle, an enrolment leaves no row and no count behind."""
    enrolled, stretch = _enrolled("ada", 1)
    seen = await store.shelves("ada")
    for delay_seconds in (0.0, 0.001, 0.002, 0.004):
        task = asyncio.create_task(store.add(enrolled, stretch, seen))
        await asyncio.sleep(delay_seconds)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        counts = {await _rows(database, "recording") > 0, await _rows(database, "posting") > 0}
        assert len(counts) == 1
        if counts == {True}:
            assert (await store.shelves("ada")).code_count == len(enrolled.codes)
            return


async def test_of_those_who_searched_together_one_enrols(store: Store) -> None:
    """Ten enrolments after one search: the first goes through, the others must search again."""
    seen = await store.shelves("ada")
    rows = [_enrolled("ada", seed) for seed in range(1, 11)]
    results = await asyncio.gather(
        *(store.add(enrolled, stretch, seen) for enrolled, stretch in rows), return_exceptions=True
    )
    assert sum(isinstance(result, Enrolled) for result in results) == 1
    assert sum(isinstance(result, ShelfChanged) for result in results) == 9


async def test_a_copy_is_known_as_its_recording(store: Store) -> None:
    """Other audio noted as a copy leads to the recording, and shows among its aliases."""
    added = await _add(store, "ada", 1)
    other = Stretch("audio/" + "f" * 64, 10, 990)
    shelves = await store.shelves("ada")
    assert await store.add_copy(added.recording.name, "ada", other, shelves)
    found = await store.known("ada", other)
    assert found is not None
    assert found.recording.name == added.recording.name
    assert found.recording.aliases == (other.audio,)
    later = await store.shelves("ada")
    assert not await store.add_copy(uuid.uuid4(), "ada", other, later)


async def test_a_second_attempt_is_no_duplicate_of_the_first(
    store: Store, database: Database
) -> None:
    """An operation that lost its worker after enrolling finds its own recording as its own."""
    identity = identity_of("operations/1")
    source = Source(
        audio="audio/" + "1" * 64,
        key="",
        encoding=Encoding.S16LE,
        sample_rate_hz=44100,
        channel_count=2,
        start_frame=0,
        frame_count=1000,
        store=AudioStore("", "", "", ""),
    )
    enroller = Enroller(store, Searcher(store, 100), SongsOfRecordings(database))
    assert await enroller.known("ada", source, identity) is None
    wanted = new_recording(identity, source, "ada")
    codes = np.random.default_rng(1).integers(0, 2**32, 200, dtype=np.uint32)
    stretch = Stretch(source.audio, 0, 1000)
    await store.add(Enrolled(wanted, codes), stretch, await store.shelves("ada"))
    again = await enroller.known("ada", source, identity_of("operations/1"))
    other = await enroller.known("ada", source, identity_of("operations/2"))
    assert again is not None
    assert other is not None
    assert (again.level, again.duplicate) == ("", None)
    assert other.level == "file"
