"""What an owner says anew of a recording: told, searched where it belongs, whole or not at all."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from importlib import resources

import numpy as np
import pytest
import pytest_asyncio
from chorale_fingerprint import matching
from chorale_fingerprint.landmarks import probes
from chorale_fingerprint.peaks import Peaks
from chorale_fingerprint.store.landmarks import LandmarkStore
from chorale_fingerprint.store.patterns import SongNotFound
from chorale_fingerprint.store.recording_changes import RecordingChanger, RecordingChanges
from chorale_fingerprint.store.recordings import Enrolled, Recording, Store, Stretch
from chorale_fingerprint.store.songs import SongsOfRecordings
from chorale_runtime.database import Database

SCHEMA = "recording_change_tests"
OWNER, OTHER = "ada", "eve"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("fingerprint-changes"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """The service's tables, in a schema for these tests alone."""
    files = resources.files("chorale_fingerprint") / "migrations"
    async with Database.open(postgres_url, SCHEMA, files) as opened:
        yield opened
        async with opened.connection() as connection:
            await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.fixture
def store(database: Database) -> Store:
    """A store that makes a segment of every two recordings."""
    return Store(database, LandmarkStore(database, fresh_max=2))


@pytest.fixture
def changer(database: Database, store: Store) -> RecordingChanger:
    """What is tested."""
    return RecordingChanger(database, store.landmarks)


def _peaks(seed: int) -> Peaks:
    random = np.random.default_rng(seed)
    columns = [np.sort(random.integers(200, 3000, 300)).astype(np.int32) for _ in range(3)]
    random.shuffle(columns[1])
    return Peaks(*columns)


async def _add(store: Store, seed: int, is_public: bool = False) -> uuid.UUID:
    name, audio = uuid.UUID(int=seed), f"audio/{seed:064x}"
    recording = Recording(name, OWNER, audio, 1000, 44100, title="old", is_public=is_public)
    codes = np.random.default_rng(seed).integers(0, 2**32, 50, dtype=np.uint32)
    enrolled = Enrolled(recording, codes, peaks=_peaks(seed))
    await store.add(enrolled, Stretch(audio, 0, 1000), await store.shelves(OWNER))
    return name


async def _is_found(store: Store, reader: str, seed: int) -> tuple[bool, bool]:
    """Whether a reader finds the recording: by landmarks, and by codes."""
    shelves = await store.shelves(reader)
    row = await store.find(OWNER, uuid.UUID(int=seed))
    assert row is not None
    hits = await store.landmarks.find(shelves.ids, probes(_peaks(seed), 0))
    codes = await store.candidates(shelves, matching.probes(row.codes, 600))
    return row.id in hits.recordings, row.id in {each.recording for each in codes}


async def _state(database: Database) -> tuple[int, int, int]:
    """How many landmark bytes, postings and counted codes there are."""
    query = """SELECT (SELECT coalesce(sum(length(data)), 0) FROM landmark_fresh)
        + (SELECT coalesce(sum(length(data)), 0) FROM landmark_block) AS bytes,
        (SELECT count(*) FROM posting) AS postings,
        (SELECT sum(code_count) FROM shelf) AS codes"""
    async with database.connection() as connection:
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(row["bytes"]), int(row["postings"]), int(row["codes"])


async def test_only_what_is_said_changes(store: Store, changer: RecordingChanger) -> None:
    """Fields that are not said stay; another's recording is not there to change."""
    name = await _add(store, 1)
    changes = RecordingChanges(artist="new", labels={"mood": "calm"}, section=3)
    assert not await changer.update(OTHER, name, changes)
    assert await changer.update(OWNER, name, changes)
    found = await store.find(OWNER, name)
    assert found is not None
    told = found.recording
    assert (told.title, told.artist, told.section) == ("old", "new", 3)
    assert told.labels == {"mood": "calm"}
    assert await store.delete(OWNER, name)
    assert not await changer.update(OWNER, name, changes)


async def test_privacy_moves_all_that_a_recording_is_known_by(
    store: Store, changer: RecordingChanger, database: Database
) -> None:
    """Once public others find it, in private only its owner does; nothing is lost or doubled."""
    names = [await _add(store, seed) for seed in range(10, 13)]
    before = await _state(database)
    assert await _is_found(store, OTHER, 11) == (False, False)
    for is_public in (True, True, False):
        for name in names[:2]:
            assert await changer.update(OWNER, name, RecordingChanges(is_public=is_public))
        assert await _is_found(store, OTHER, 11) == (is_public, is_public)
        assert await _is_found(store, OWNER, 11) == (True, True)
        assert await _state(database) == before
    for name in names:
        assert await store.delete(OWNER, name)
    assert await _state(database) == (0, 0, 0)


async def test_changes_deletions_and_enrolments_at_once_agree(
    store: Store, changer: RecordingChanger, database: Database
) -> None:
    """Whatever comes in between, what is left is whole and where it was last said to be."""
    names = [await _add(store, seed) for seed in range(20, 24)]
    await asyncio.gather(
        *(
            changer.update(OWNER, name, RecordingChanges(is_public=turn % 2 == 0))
            for turn in range(2)
            for name in names
        ),
        *(store.delete(OWNER, name) for name in names[:2]),
        *(store.landmarks.fold(shelf) for shelf in (await store.shelves(OWNER)).ids),
    )
    for name in names[2:]:
        assert await changer.update(OWNER, name, RecordingChanges(is_public=True))
    for seed in range(22, 24):
        assert await _is_found(store, OTHER, seed) == (True, True)
        assert await store.delete(OWNER, uuid.UUID(int=seed))
    assert await _state(database) == (0, 0, 0)


async def test_a_recording_leaves_and_joins_songs(
    store: Store, changer: RecordingChanger, database: Database
) -> None:
    """It is of the song that is said, alone if so said; a song ends with its last recording."""
    first, second = await _add(store, 30), await _add(store, 31)
    songs = SongsOfRecordings(database)
    song = await songs.joined(OWNER, second, first)
    with pytest.raises(SongNotFound):
        await changer.update(OWNER, second, RecordingChanges(song=uuid.uuid4()))
    # The one that the song was begun with goes: the other keeps it, and the first begins another.
    assert await changer.update(OWNER, first, RecordingChanges(is_alone=True))
    left, stayed = await store.find(OWNER, first), await store.find(OWNER, second)
    assert left is not None
    assert stayed is not None
    assert (left.recording.song, stayed.recording.song) == (None, song)
    other = await songs.song(OWNER, first)
    assert other not in (None, song)
    assert await songs.song(OWNER, first) == other

    assert await changer.update(OWNER, first, RecordingChanges(song=song))
    assert await changer.update(OWNER, first, RecordingChanges(title="same song"))
    query = "SELECT name FROM song ORDER BY id"
    async with database.connection() as connection:
        rows = await (await connection.execute(query)).fetchall()
    assert [row["name"] for row in rows] == [song]
    for name in (first, second):
        assert await store.delete(OWNER, name)
    async with database.connection() as connection:
        assert not await (await connection.execute(query)).fetchall()
