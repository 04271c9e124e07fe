"""Patterns over the wire: indexed, found, kept from others, and gone when deleted."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any

import numpy as np
import psycopg
import pytest
import pytest_asyncio
from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import catalogue_pb2, patterns_pb2, recordings_pb2, similar_pb2
from chorale_client import AsyncChorale, ChoraleError
from chorale_fingerprint.app import build
from chorale_fingerprint.layouts import LAYOUTS, Layout
from chorale_fingerprint.settings import Settings
from chorale_fingerprint.store.similar import SimilarPatterns, Wanted
from chorale_mesh.objects import EmbeddedObjects
from chorale_runtime.database import Database
from chorale_runtime.server import running

DRUMS = LAYOUTS["layouts/drums/1"]
MIGRATIONS = resources.files("chorale_fingerprint") / "migrations"
As = Callable[..., AsyncChorale]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("fingerprint-patterns"),
]


@pytest.fixture(scope="module")
def alone(postgres_url: str, object_server: EmbeddedObjects) -> Settings:
    """Settings of a fingerprint without an ingest: patterns are numbers, not sound."""
    name = f"patterns_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return Settings(
        database_url=psycopg.conninfo.make_conninfo(postgres_url, dbname=name),
        objects_endpoint=object_server.endpoint,
        objects_access_key=object_server.access_key,
        objects_secret_key=object_server.secret_key,
        objects_bucket=name.replace("_", "-"),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(alone: Settings) -> AsyncIterator[As]:
    """A fingerprint service, and clients of it in anybody's name."""
    clients: list[AsyncChorale] = []
    async with running(alone, build) as server:

        def client(owner: str, tier: str = "local") -> AsyncChorale:
            on_behalf = (("chorale-on-behalf-of", owner), ("chorale-on-behalf-of-tier", tier))
            addresses = {"fingerprint": server.address}
            clients.append(AsyncChorale(addresses=addresses, metadata=on_behalf))
            return clients[-1]

        yield client
        for each in clients:
            await each.close()


@pytest.fixture
def ada(mesh: As) -> AsyncChorale:
    """One who indexes."""
    return mesh(f"ada-{uuid.uuid4()}")


@pytest.fixture
def eve(mesh: As) -> AsyncChorale:
    """One who looks on."""
    return mesh(f"eve-{uuid.uuid4()}")


def _values(seed: int, layout: Layout = DRUMS) -> list[float]:
    return list(np.random.default_rng(seed).uniform(0, 1, len(layout.dimensions)))


def _near(values: list[float], seed: int, by: float = 0.05) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, by, len(values))
    return list(np.clip(np.array(values) + noise, 0, 1))


def _pattern(values: list[float], **said: Any) -> patterns_pb2.Pattern:
    vector = audio_pb2.PatternVector(layout=DRUMS.name, values=values)
    said.setdefault("instrument", audio_pb2.INSTRUMENT_DRUMS)
    return patterns_pb2.Pattern(vector=vector, **said)


async def _index(
    client: AsyncChorale, pattern: patterns_pb2.Pattern, **said: Any
) -> patterns_pb2.IndexPatternResponse:
    said.setdefault("request_id", str(uuid.uuid4()))
    request = patterns_pb2.IndexPatternRequest(pattern=pattern, **said)
    answer: patterns_pb2.IndexPatternResponse = await client.fingerprint.IndexPattern(request)
    return answer


async def _similar(client: AsyncChorale, **said: Any) -> similar_pb2.SearchSimilarResponse:
    request = similar_pb2.SearchSimilarRequest(**said)
    answer: similar_pb2.SearchSimilarResponse = await client.fingerprint.SearchSimilar(request)
    return answer


def _found(answer: similar_pb2.SearchSimilarResponse) -> list[tuple[str, float]]:
    rows = [(one.pattern.name, one.similarity) for song in answer.songs for one in song.patterns]
    return sorted(rows, key=lambda row: -row[1])


async def test_the_likest_come_first_grouped_by_song(ada: AsyncChorale) -> None:
    """Likeness is the cosine of the weighed numbers; patterns of one song stand together."""
    query = _values(1)
    first = (await _index(ada, _pattern(_near(query, 2)))).pattern
    await _index(
        ada, _pattern(_near(query, 3, 0.2), song=first.song, section="SECTION_LABEL_VERSE")
    )
    other = (await _index(ada, _pattern(_near(query, 4, 0.1)))).pattern
    await _index(ada, _pattern([1.0] + [0.0] * 59))
    vector = audio_pb2.PatternVector(layout=DRUMS.name, values=query)
    answer = await _similar(ada, vector=vector, explain=True, filter={"own_only": True})

    assert [song.song for song in answer.songs] == [first.song, other.song]
    assert [len(song.patterns) for song in answer.songs] == [2, 1]
    assert answer.total_count == 3
    assert answer.is_exact
    best = answer.songs[0].patterns[0]
    unit = DRUMS.unit
    assert best.similarity == pytest.approx(unit(query) @ unit(_near(query, 2)), abs=1e-5)
    assert best.explanation
    assert not best.pattern.vector.values


async def test_a_search_by_name_leaves_the_asked_one_out(ada: AsyncChorale) -> None:
    """A pattern is not among its own like, and its song's others are left out if so asked."""
    query = _values(5)
    asked = (await _index(ada, _pattern(query, bpm=120, key="C minor"))).pattern
    same = (await _index(ada, _pattern(_near(query, 6), song=asked.song))).pattern
    other = (await _index(ada, _pattern(_near(query, 7)))).pattern
    answer = await _similar(ada, pattern=asked.name, filter={"own_only": True})
    assert {name for name, _ in _found(answer)} == {same.name, other.name}
    assert (answer.query.bpm, answer.query.key) == (120, "C minor")
    answer = await _similar(
        ada, pattern=asked.name, filter={"own_only": True, "other_songs_only": True}
    )
    assert [name for name, _ in _found(answer)] == [other.name]


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"bpm_min": 100, "bpm_max": 130}, True),
        ({"bpm_min": 121}, False),
        ({"genres": ["rock", "jazz"]}, True),
        ({"genres": ["rock"]}, False),
        ({"keys": ["A minor"]}, True),
        ({"keys": ["A major"]}, False),
        ({"sections": [audio_pb2.SECTION_LABEL_CHORUS]}, True),
        ({"sections": [audio_pb2.SECTION_LABEL_INTRO]}, False),
        ({"min_quality": 0.5}, True),
        ({"min_quality": 0.9}, False),
        ({"created_after": "2001-01-01"}, True),
        ({"created_after": "2201-01-01"}, False),
        ({"privacy": recordings_pb2.PRIVACY_PRIVATE}, True),
        ({"privacy": recordings_pb2.PRIVACY_PUBLIC}, False),
    ],
)
async def test_filters_hold(ada: AsyncChorale, filters: dict[str, Any], passes: bool) -> None:
    """Each filter lets through what fits and nothing else."""
    said = {"bpm": 120, "genre": "jazz", "key": "A minor", "quality_score": 0.7}
    pattern = _pattern(_values(8), section=audio_pb2.SECTION_LABEL_CHORUS, **said)
    await _index(ada, pattern)
    vector = audio_pb2.PatternVector(layout=DRUMS.name, values=_values(8))
    answer = await _similar(ada, vector=vector, filter={"own_only": True, **filters})
    assert answer.total_count == int(passes) == len(_found(answer))


async def test_what_is_private_leaves_no_trace(ada: AsyncChorale, eve: AsyncChorale) -> None:
    """Another sees what is public, without its audio; of what is private not even a count."""
    audio = f"audio/{'a' * 64}"
    hidden = (await _index(ada, _pattern(_values(9), audio=audio))).pattern
    vector = audio_pb2.PatternVector(layout=DRUMS.name, values=_values(9))
    before = await _similar(eve, vector=vector, min_similarity=0.999)
    assert (before.total_count, _found(before)) == (0, [])
    of_pattern, of_song = "PATTERN_NOT_FOUND", "SONG_NOT_FOUND"
    named = {"name": hidden.name}
    for call, asked, reason in (
        (eve.fingerprint.GetPattern, patterns_pb2.GetPatternRequest(**named), of_pattern),
        (eve.fingerprint.DeletePattern, patterns_pb2.DeletePatternRequest(**named), of_pattern),
        (eve.fingerprint.GetSong, catalogue_pb2.GetSongRequest(name=hidden.song), of_song),
    ):
        with pytest.raises(ChoraleError) as refused:
            await call(asked)
        assert (refused.value.code, refused.value.reason) == ("NOT_FOUND", reason)

    public = patterns_pb2.Pattern(name=hidden.name, privacy=recordings_pb2.PRIVACY_PUBLIC)
    request = patterns_pb2.UpdatePatternRequest(pattern=public, update_mask={"paths": ["privacy"]})
    await ada.fingerprint.UpdatePattern(request)
    seen = await _similar(eve, vector=vector, min_similarity=0.999)
    assert [name for name, _ in _found(seen)] == [hidden.name]
    assert not seen.songs[0].patterns[0].pattern.audio
    with pytest.raises(ChoraleError):
        await eve.fingerprint.UpdatePattern(request)
    await ada.fingerprint.DeletePattern(patterns_pb2.DeletePatternRequest(name=hidden.name))


async def test_a_repeated_request_indexes_nothing_twice(ada: AsyncChorale) -> None:
    """Of many calls with one request_id one indexes; another request with it is refused."""
    request_id, pattern = str(uuid.uuid4()), _pattern(_values(10), genre="dub")
    answers = await asyncio.gather(*(_index(ada, pattern, request_id=request_id) for _ in range(8)))
    assert len({answer.pattern.name for answer in answers}) == 1
    listed = await ada.fingerprint.ListPatterns(patterns_pb2.ListPatternsRequest())
    assert len(listed.patterns) == 1
    with pytest.raises(ChoraleError) as refused:
        await _index(ada, _pattern(_values(11)), request_id=request_id)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_a_batch_is_all_or_nothing(ada: AsyncChorale) -> None:
    """One bad pattern in a hundred leaves nothing behind; without it all are there, in order."""
    good = [_pattern(_values(100 + i), bpm=60 + i) for i in range(99)]
    bad = _pattern(_values(1), song=f"songs/{uuid.uuid4()}")
    request = patterns_pb2.BatchIndexPatternsRequest(
        patterns=[*good, bad], request_id=str(uuid.uuid4())
    )
    with pytest.raises(ChoraleError) as refused:
        await ada.fingerprint.BatchIndexPatterns(request)
    assert refused.value.reason == "SONG_NOT_FOUND"
    empty = await ada.fingerprint.ListPatterns(patterns_pb2.ListPatternsRequest())
    assert not empty.patterns

    request = patterns_pb2.BatchIndexPatternsRequest(patterns=good, request_id=str(uuid.uuid4()))
    made = await ada.fingerprint.BatchIndexPatterns(request)
    exported = []
    async for part in ada.fingerprint.ExportPatterns(patterns_pb2.ExportPatternsRequest()):
        exported += part.patterns
    assert [each.name for each in exported] == list(made.names)
    assert [each.bpm for each in exported] == [60 + i for i in range(99)]
    listed: list[str] = []
    songs: list[str] = []
    token = ""
    for count in (60, 39):
        page = patterns_pb2.ListPatternsRequest(page_size=60, page_token=token)
        answer = await ada.fingerprint.ListPatterns(page)
        assert len(answer.patterns) == count
        listed, token = listed + [each.name for each in answer.patterns], answer.next_page_token
    assert listed[::-1] == list(made.names)
    for count in (60, 39):
        asked = catalogue_pb2.ListSongsRequest(page_size=60, page_token=token)
        found = await ada.fingerprint.ListSongs(asked)
        songs, token = songs + [each.name for each in found.songs][:count], found.next_page_token
    assert len(set(songs)) == 99
    rest = []
    after = patterns_pb2.ExportPatternsRequest(after=made.names[89])
    async for part in ada.fingerprint.ExportPatterns(after):
        rest += part.patterns
    assert [each.name for each in rest] == list(made.names[90:])


@pytest.mark.parametrize(
    ("layout", "values", "instrument", "reason"),
    [
        ("layouts/drums/9", [1.0] * 60, 1, "LAYOUT_UNKNOWN"),
        ("layouts/drums/1", [1.0] * 60, 2, "LAYOUT_UNKNOWN"),
        ("layouts/drums/1", [1.0] * 59, 1, "VECTOR_INVALID"),
        ("layouts/drums/1", [0.0] * 60, 1, "VECTOR_INVALID"),
    ],
)
async def test_numbers_that_mean_nothing_are_refused(
    ada: AsyncChorale, layout: str, values: list[float], instrument: int, reason: str
) -> None:
    """Unknown layouts, other instruments', wrong lengths and zeros are told apart."""
    vector = audio_pb2.PatternVector(layout=layout, values=values)
    pattern = patterns_pb2.Pattern(instrument=instrument, vector=vector)  # type: ignore[arg-type]
    with pytest.raises(ChoraleError) as refused:
        await _index(ada, pattern)
    assert refused.value.reason == reason


async def test_a_song_takes_each_section_once_where_that_is_the_policy(ada: AsyncChorale) -> None:
    """A second pattern of a section is told, or refused with the sections that there are."""
    verse, chorus = audio_pb2.SECTION_LABEL_VERSE, audio_pb2.SECTION_LABEL_CHORUS
    first = (await _index(ada, _pattern(_values(12), section=verse))).pattern
    other = await _index(ada, _pattern(_values(13), section=chorus, song=first.song))
    assert list(other.duplicates.existing_sections) == [verse]
    assert not other.duplicates.is_duplicate
    again = _pattern(_values(14), section=verse, song=first.song)
    warned = await _index(ada, again, policy=recordings_pb2.DUPLICATE_POLICY_WARN)
    assert warned.duplicates.is_duplicate
    assert warned.duplicates.message
    with pytest.raises(ChoraleError) as refused:
        await _index(ada, again, policy=recordings_pb2.DUPLICATE_POLICY_REJECT)
    assert refused.value.reason == "DUPLICATE_REJECTED"
    assert refused.value.metadata["existingSections"] == "verse,chorus"
    found = await ada.fingerprint.GetSong(catalogue_pb2.GetSongRequest(name=first.song))
    assert found.song.pattern_count == 3
    assert list(found.song.sections) == [verse, chorus]


async def test_midi_is_kept_apart(ada: AsyncChorale, eve: AsyncChorale) -> None:
    """The MIDI file comes back byte for byte, by its own call, to whoever may see the pattern."""
    midi = b"MThd" + bytes(range(100))
    made = (await _index(ada, _pattern(_values(15), midi=midi))).pattern
    assert made.midi_available
    assert not made.midi
    request = patterns_pb2.GetPatternMidiRequest(name=made.name)
    body = await ada.fingerprint.GetPatternMidi(request)
    assert (body.data, body.content_type) == (midi, "audio/midi")
    with pytest.raises(ChoraleError):
        await eve.fingerprint.GetPatternMidi(request)


@pytest.mark.parametrize(
    ("tier", "is_private", "drums", "bass", "others", "limit"),
    [
        ("free", False, False, False, False, 10),
        ("starter", False, True, False, False, 10),
        ("producer", True, True, True, True, 200),
    ],
)
async def test_a_tier_gets_what_it_includes(
    mesh: As,
    eve: AsyncChorale,
    tier: str,
    is_private: bool,
    drums: bool,
    bass: bool,
    others: bool,
    limit: int,
) -> None:
    """Privacy, MIDI and numbers of results are those of the tier; who is refused is told by whom
    it would not be."""
    someone = mesh(f"{tier}-{uuid.uuid4()}", tier)

    async def is_refused(call: Any, request: Any, feature: str) -> bool:
        try:
            await call(request)
        except ChoraleError as error:
            told = (error.code, error.reason, error.metadata["feature"], error.metadata["tiers"])
        else:
            return False
        assert told[:3] == ("PERMISSION_DENIED", "TIER_FORBIDS", feature)
        assert "producer,studio" in told[3]
        return True

    private = _pattern(_values(22), privacy=recordings_pb2.PRIVACY_PRIVATE)
    request = patterns_pb2.IndexPatternRequest(pattern=private, request_id=str(uuid.uuid4()))
    refused = await is_refused(someone.fingerprint.IndexPattern, request, "private_patterns")
    assert refused is not is_private

    mine = (await _index(someone, _pattern(_values(22), midi=b"MThd"))).pattern
    assert (mine.privacy == recordings_pb2.PRIVACY_PUBLIC) is not is_private
    vector = audio_pb2.PatternVector(layout="layouts/bass/1", values=[1.0] * 50)
    line = patterns_pb2.Pattern(instrument="INSTRUMENT_BASS", vector=vector, midi=b"MThd")
    low = (await _index(someone, line)).pattern
    public = _pattern(_values(23), midi=b"MThd", privacy=recordings_pb2.PRIVACY_PUBLIC)
    theirs = (await _index(eve, public)).pattern
    for name, may in ((mine.name, drums), (low.name, bass), (theirs.name, others)):
        read = patterns_pb2.GetPatternMidiRequest(name=name)
        assert await is_refused(someone.fingerprint.GetPatternMidi, read, "pattern_midi") is not may
        seen = await someone.fingerprint.GetPattern(patterns_pb2.GetPatternRequest(name=name))
        assert seen.pattern.midi_available is may
    for count in (limit, 11):
        search = similar_pb2.SearchSimilarRequest(pattern=mine.name, limit=count)
        is_over = await is_refused(someone.fingerprint.SearchSimilar, search, "similar_results")
        assert is_over is (count > limit)
    for client, made in ((someone, mine), (someone, low), (eve, theirs)):
        await client.fingerprint.DeletePattern(patterns_pb2.DeletePatternRequest(name=made.name))


async def test_deleting_deletes(ada: AsyncChorale, alone: Settings, mesh: As) -> None:
    """After a deletion no table has a row of the pattern, nor of the song it began."""
    made = (await _index(ada, _pattern(_values(16), midi=b"MThd"))).pattern
    await ada.fingerprint.DeletePattern(patterns_pb2.DeletePatternRequest(name=made.name))
    with psycopg.connect(alone.database_url) as connection:
        for table, name in (("pattern", made.name), ("song", made.song)):
            query = f"SELECT count(*) FROM fingerprint.{table} WHERE name = %s"
            row = connection.execute(query, (name.split("/")[1],)).fetchone()
            assert row == (0,)


async def test_comparing_adds_up(ada: AsyncChorale) -> None:
    """The contributions of all dimensions are the likeness; one with itself is 1."""
    one = (await _index(ada, _pattern(_values(17)))).pattern.name
    two = (await _index(ada, _pattern(_values(18)))).pattern.name
    request = similar_pb2.ComparePatternsRequest(first=one, second=two)
    answer = await ada.fingerprint.ComparePatterns(request)
    assert len(answer.explanation) == 60
    total = sum(each.contribution for each in answer.explanation)
    assert answer.similarity == pytest.approx(total, abs=1e-6)
    itself = similar_pb2.ComparePatternsRequest(first=one, second=one)
    same = await ada.fingerprint.ComparePatterns(itself)
    assert same.similarity == pytest.approx(1.0, abs=1e-6)


async def test_layouts_tell_every_dimension(ada: AsyncChorale) -> None:
    """Each layout names its numbers, each once: 60 of drums, 50 of bass, 40 of chords."""
    answer = await ada.fingerprint.ListLayouts(similar_pb2.ListLayoutsRequest())
    lengths = {one.name: len({each.name for each in one.dimensions}) for one in answer.layouts}
    current = [one.name for one in answer.layouts if one.is_current]
    assert current == [f"layouts/{name}/1" for name in ("drums", "bass", "chords", "melody")]
    assert lengths == {
        "layouts/drums/2": 60,
        "layouts/drums/1": 60,
        "layouts/bass/1": 50,
        "layouts/chords/1": 40,
        "layouts/melody/1": 61,
    }


async def test_operators_index_anew(ada: AsyncChorale, mesh: As) -> None:
    """A newer layout is searched once all is indexed in it, by vectors of the older one too."""
    made = (await _index(ada, _pattern(_values(21)))).pattern
    asked = {"layout": "layouts/drums/2", "request_id": str(uuid.uuid4())}
    request = similar_pb2.ReindexPatternsRequest(**asked, validate_only=True)  # type: ignore[arg-type]
    estimated = similar_pb2.ReindexPatternsResponse()
    (await ada.fingerprint.ReindexPatterns(request)).response.Unpack(estimated)
    assert estimated.estimate.seconds > 0
    vector = audio_pb2.PatternVector(layout=DRUMS.name, values=_values(21))
    for layout in (DRUMS.name, "layouts/drums/2"):
        answer = await _similar(ada, vector=vector, explain=True, min_similarity=0.99)
        assert [name for name, _ in _found(answer)] == [made.name]
        assert answer.query.layout == layout
        request = similar_pb2.ReindexPatternsRequest(**asked)  # type: ignore[arg-type]
        started = await ada.start(
            ada.fingerprint.ReindexPatterns, request, similar_pb2.ReindexPatternsResponse
        )
        renewed = await started.result(60)
        assert renewed.left_count == 0
        assert renewed.pattern_count >= 1
    listed = await ada.fingerprint.ListLayouts(similar_pb2.ListLayoutsRequest())
    assert [one.indexed_share for one in listed.layouts if "drums" in one.name] == [1.0, 1.0]
    assert listed.layouts[0].is_current
    unknown = similar_pb2.ReindexPatternsRequest(
        layout="layouts/drums/9", request_id=str(uuid.uuid4())
    )
    with pytest.raises(ChoraleError) as refused:
        await ada.fingerprint.ReindexPatterns(unknown)
    assert refused.value.reason == "LAYOUT_UNKNOWN"


async def test_the_graph_finds_what_comparing_each_finds(alone: Settings, mesh: As) -> None:
    """Among many, the graph's twenty are those of an exact search; where few pass, exactly so."""
    owner, draw = f"crowd-{uuid.uuid4()}", np.random.default_rng(19)
    centres = draw.uniform(0, 1, (40, 60))
    async with Database.open(alone.database_url, "fingerprint", MIGRATIONS) as database:
        await _crowd(database, owner, centres, draw, count=1500)
        walking = SimilarPatterns(database, exact_max=0, passing_max=0)
        picking, comparing = SimilarPatterns(database, exact_max=0), SimilarPatterns(database)
        agreeing = 0
        for centre in centres[:5]:
            direction = DRUMS.unit(np.clip(centre + draw.normal(0, 0.1, 60), 0, 1).tolist())
            for wanted in (Wanted(), Wanted(genres=("jazz",))):
                found = await walking.search("nobody", DRUMS, direction, wanted, 0.0, 20)
                truth = await comparing.search("nobody", DRUMS, direction, wanted, 0.0, 20)
                picked = await picking.search("nobody", DRUMS, direction, wanted, 0.0, 20)
                assert len(found.found) == 20
                if wanted.genres:  # few pass: each of them is compared
                    assert picked == truth
                names = {each.pattern.name for each in truth.found}
                agreeing += len(names & {each.pattern.name for each in found.found})
        rare = await walking.search("nobody", DRUMS, direction, Wanted(genres=("rare",)), 0.0, 20)
        assert len(rare.found) == 3  # as many as there are, however well hidden
        alike = await walking.search("nobody", DRUMS, direction, Wanted(), 0.97, 20)
        truth = await comparing.search("nobody", DRUMS, direction, Wanted(), 0.97, 20)
        assert alike.found == truth.found
    assert agreeing / 200 >= 0.98


async def _crowd(
    database: Database, owner: str, centres: np.ndarray, draw: np.random.Generator, count: int
) -> None:
    async with database.connection() as connection:
        row = await (
            await connection.execute(
                "INSERT INTO song (name, owner, title, artist) VALUES (%s, %s, '', '')"
                " RETURNING id",
                (uuid.uuid4(), owner),
            )
        ).fetchone()
        assert row is not None
        statement = """COPY pattern (name, owner, is_public, song, instrument, layout, given,
            direction, section, bpm, key, genre, quality_score, audio, start_frame, frame_count,
            midi, preview_audio, time_signature) FROM STDIN"""
        async with connection.cursor() as cursor, cursor.copy(statement) as rows:
            for index in range(count):
                near = centres[index % len(centres)] + draw.normal(0, 0.15, 60)
                values = np.clip(near, 0, 1)
                direction = "[" + ",".join(map(str, DRUMS.unit(values.tolist()).tolist())) + "]"
                genre = "rare" if index in (7, 507, 1007) else "jazz" if index % 10 == 0 else "pop"
                fixed = (uuid.uuid4(), owner, True, row["id"], 1, DRUMS.name)
                given = values.astype("<f4").tobytes()
                told = (0, 120.0, "", genre, 0.5, "", 0, 0, b"", "", "")
                await rows.write_row((*fixed, given, direction, *told))
