"""Duplicates, monitoring and live naming over the wire, against real parts."""

import io
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soundfile
import soxr
from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import catalogue_pb2, listening_pb2, recordings_pb2
from chorale_client import AsyncChorale, ChoraleError
from chorale_fingerprint.app import build
from chorale_fingerprint.settings import Settings
from chorale_runtime.server import running
from google.protobuf.message import Message

RATE_HZ = 22050
MakeSong = Callable[..., np.ndarray]
VERSE, CHORUS = audio_pb2.SECTION_LABEL_VERSE, audio_pb2.SECTION_LABEL_CHORUS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("fingerprint-watching"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(settings: Settings) -> AsyncIterator[Callable[[str], AsyncChorale]]:
    """A service that listens to two streams at most, and clients in anybody's name."""
    clients: list[AsyncChorale] = []
    async with running(replace(settings, live_streams_max=2), build) as server:

        def client(owner: str) -> AsyncChorale:
            addresses = {"ingest": settings.ingest_address, "fingerprint": server.address}
            on_behalf = (("chorale-on-behalf-of", owner),)
            clients.append(AsyncChorale(addresses=addresses, metadata=on_behalf))
            return clients[-1]

        yield client
        for each in clients:
            await each.close()


@pytest.fixture
def ada(mesh: Callable[[str], AsyncChorale]) -> AsyncChorale:
    """One who enrols."""
    return mesh(f"ada-{uuid.uuid4()}")


async def _put(client: AsyncChorale, signal: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, signal, RATE_HZ, format="WAV", subtype="PCM_16")
    return (await client.put(file.getvalue(), file_name="song.wav")).name


async def _done(client: AsyncChorale, rpc: Any, request: Message, response: Any) -> Any:
    request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
    return await (await client.start(rpc, request, response)).result(60)


async def _enroll(client: AsyncChorale, audio: str, **said: Any) -> Any:
    request = recordings_pb2.EnrollRequest(audio=audio, **said)
    response = recordings_pb2.EnrollResponse
    return await _done(client, client.fingerprint.Enroll, request, response)


async def _check(client: AsyncChorale, audio: str, **said: Any) -> Any:
    request = catalogue_pb2.CheckDuplicatesRequest(audio=audio, **said)
    response = catalogue_pb2.CheckDuplicatesResponse
    answer = await _done(client, client.fingerprint.CheckDuplicates, request, response)
    return answer.duplicates


async def test_a_copy_is_a_duplicate_by_ear(ada: AsyncChorale, make_song: MakeSong) -> None:
    """A quieter, noisier copy is told by ear, with its name; nothing is enrolled by asking."""
    song = make_song(31)
    known = (await _enroll(ada, await _put(ada, song), title="Song")).recording
    noise = np.random.default_rng(1).standard_normal(len(song)).astype(np.float32)
    audio = await _put(ada, song * np.float32(0.5) + noise * np.float32(0.003))
    report = await _check(ada, audio)
    assert (report.is_duplicate, report.level) == (True, recordings_pb2.DUPLICATE_LEVEL_ACOUSTIC)
    assert report.matches[0].recording.name == known.name
    assert known.name in report.message
    listed = await ada.fingerprint.ListRecordings(catalogue_pb2.ListRecordingsRequest())
    assert len(listed.recordings) == 1


async def test_sections_of_a_file_are_one_song(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Two parts of one file are two recordings of one song, which names both sections."""
    audio = await _put(ada, make_song(32, 24.0))
    spans = [
        audio_pb2.FrameSpan(start_frame=start * RATE_HZ, frame_count=11 * RATE_HZ)
        for start in (0, 12)
    ]
    verse = await _enroll(ada, audio, span=spans[0], section=VERSE)
    chorus = await _enroll(ada, audio, span=spans[1], section=CHORUS)
    assert chorus.created
    assert chorus.recording.name != verse.recording.name
    assert chorus.recording.song
    assert set(chorus.duplicates.existing_sections) == {VERSE, CHORUS}
    request = catalogue_pb2.ListRecordingsRequest(song=chorus.recording.song)
    listed = await ada.fingerprint.ListRecordings(request)
    assert {each.name for each in listed.recordings} == {
        verse.recording.name,
        chorus.recording.name,
    }
    song = await ada.fingerprint.GetSong(catalogue_pb2.GetSongRequest(name=chorus.recording.song))
    assert song.song.recording_count == 2
    report = await _check(ada, audio)
    assert report.song == chorus.recording.song
    for recording in listed.recordings:
        await ada.fingerprint.DeleteRecording(
            catalogue_pb2.DeleteRecordingRequest(name=recording.name)
        )
    with pytest.raises(ChoraleError) as caught:
        await ada.fingerprint.GetSong(catalogue_pb2.GetSongRequest(name=song.song.name))
    assert caught.value.reason == "SONG_NOT_FOUND"


async def test_a_section_in_another_file_joins_its_song(
    ada: AsyncChorale, make_song: MakeSong
) -> None:
    """Ten seconds of an enrolled song, in a file of their own, are linked to it."""
    song = make_song(33, 24.0)
    whole = await _enroll(ada, await _put(ada, song), title="Whole")
    part = await _enroll(ada, await _put(ada, song[8 * RATE_HZ : 18 * RATE_HZ]), section=CHORUS)
    assert part.created
    assert part.duplicates.matches[0].recording.name == whole.recording.name
    assert part.recording.song == part.duplicates.song != ""


async def test_a_policy_rejects_a_section_that_is_there(
    ada: AsyncChorale, make_song: MakeSong
) -> None:
    """Under `reject` a section of a song is taken once; the refusal names what is there."""
    audio = await _put(ada, make_song(34, 24.0))
    first = audio_pb2.FrameSpan(frame_count=11 * RATE_HZ)
    again = audio_pb2.FrameSpan(start_frame=12 * RATE_HZ, frame_count=11 * RATE_HZ)
    reject = recordings_pb2.DUPLICATE_POLICY_REJECT
    await _enroll(ada, audio, span=first, section=VERSE, policy=reject)
    with pytest.raises(ChoraleError) as caught:
        await _enroll(ada, audio, span=again, section=VERSE, policy=reject)
    assert caught.value.reason == "DUPLICATE_REJECTED"
    assert caught.value.metadata["level"] == "section"
    assert caught.value.metadata["existingSections"] == "verse"


async def test_hints_are_the_last_level(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Other sound of the same tempo, key and duration is a duplicate by hint only."""
    hints = recordings_pb2.DuplicateHints(bpm=120.0, key="C minor")
    await _enroll(ada, await _put(ada, make_song(35)), hints=hints)
    other = await _put(ada, make_song(36))
    report = await _check(ada, other, hints=recordings_pb2.DuplicateHints(bpm=120.5, key="C minor"))
    assert (report.is_duplicate, report.level) == (True, recordings_pb2.DUPLICATE_LEVEL_MUSICAL)
    report = await _check(ada, other, hints=recordings_pb2.DuplicateHints(bpm=90.0, key="C minor"))
    assert not report.is_duplicate


async def test_a_library_is_reported(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Copies are grouped with what was first, and their bytes counted; the rest is left alone."""
    song = make_song(37)
    audio, copy = await _put(ada, song), await _put(ada, song * np.float32(0.7))
    known = (await _enroll(ada, audio)).recording
    await _enroll(ada, copy)
    await _enroll(ada, await _put(ada, make_song(38)))
    request = catalogue_pb2.ReportDuplicatesRequest()
    response = catalogue_pb2.ReportDuplicatesResponse
    answer = await _done(ada, ada.fingerprint.ReportDuplicates, request, response)
    (group,) = answer.groups
    assert group.recording.name == known.name
    assert [match.recording.audio for match in group.duplicates] == [copy]
    assert (answer.recording_count, answer.duplicate_count) == (2, 1)
    assert answer.duplicate_bytes == (await ada.info(copy)).size_bytes


async def test_a_broadcast_is_told_apart(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Of two known songs with unknown music between, each is found when it plays."""
    songs = [make_song(seed, 20.0) for seed in (40, 41)]
    names = [(await _enroll(ada, await _put(ada, song))).recording.name for song in songs]
    faster = soxr.resample(songs[1], RATE_HZ, round(RATE_HZ / 1.02))
    broadcast = np.concatenate([make_song(42, 15.0), songs[0], make_song(43, 15.0), faster])
    request = listening_pb2.MonitorRequest(audio=await _put(ada, broadcast))
    response = listening_pb2.MonitorResponse
    answer = await _done(ada, ada.fingerprint.Monitor, request, response)
    assert [match.recording.name for match in answer.matches] == names
    first, second = answer.matches
    assert first.query_span.start_frame / RATE_HZ == pytest.approx(15.0, abs=2.0)
    assert first.query_span.frame_count / RATE_HZ == pytest.approx(20.0, abs=3.0)
    assert second.query_span.start_frame / RATE_HZ == pytest.approx(50.0, abs=2.0)
    assert second.speed_ratio == pytest.approx(1.02, abs=0.004)
    assert len(answer.unknown_spans) >= 2


async def _frames(config: Any, signal: np.ndarray, message: Any) -> AsyncIterator[Any]:
    yield message(config=config)
    for start in range(0, len(signal), RATE_HZ):
        yield message(frames=signal[start : start + RATE_HZ].astype("<f4").tobytes())


FORMAT = audio_pb2.PcmFormat(sample_rate_hz=RATE_HZ, channel_count=1)


async def test_a_song_is_named_while_it_plays(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Answers come in order, the song is named before it ends, and the last says so."""
    song = make_song(44, 24.0)
    known = (await _enroll(ada, await _put(ada, song))).recording
    config = listening_pb2.IdentifyStreamConfig(format=FORMAT)
    requests = _frames(config, song[5 * RATE_HZ :], listening_pb2.IdentifyStreamRequest)
    answers = [each async for each in ada.fingerprint.IdentifyStream(requests)]
    assert [each.revision for each in answers] == list(range(1, len(answers) + 1))
    assert [each.is_final for each in answers] == [False] * (len(answers) - 1) + [True]
    named = [each.revision for each in answers if each.matches]
    assert named
    assert named[0] < len(answers)
    assert answers[-1].matches[0].recording.name == known.name
    there = answers[-1].matches[0]
    offset = there.recording_span.start_frame - there.query_span.start_frame
    assert offset / RATE_HZ == pytest.approx(5.0, abs=0.1)


async def test_a_stream_stops_at_the_first_sure_name(
    ada: AsyncChorale, make_song: MakeSong
) -> None:
    """When asked, the first sure answer is the last."""
    song = make_song(45, 24.0)
    await _enroll(ada, await _put(ada, song))
    config = listening_pb2.IdentifyStreamConfig(format=FORMAT, stop_at_first=True)
    requests = _frames(config, song, listening_pb2.IdentifyStreamRequest)
    answers = [each async for each in ada.fingerprint.IdentifyStream(requests)]
    assert answers[-1].is_final
    assert answers[-1].span.frame_count < len(song)


async def test_endless_sound_is_watched(ada: AsyncChorale, make_song: MakeSong) -> None:
    """A watched stream tells what played, and when nothing known did."""
    song = make_song(46, 20.0)
    known = (await _enroll(ada, await _put(ada, song))).recording
    settings = listening_pb2.MonitorSettings(window_seconds=10.0, overlap_seconds=3.0)
    config = listening_pb2.MonitorStreamConfig(format=FORMAT, settings=settings)
    sound = np.concatenate([song, make_song(47, 20.0)])
    requests = _frames(config, sound, listening_pb2.MonitorStreamRequest)
    answers = [each async for each in ada.fingerprint.MonitorStream(requests)]
    assert [each.revision for each in answers] == list(range(1, len(answers) + 1))
    heard = [match for each in answers if each.is_final for match in each.matches]
    assert {match.recording.name for match in heard} == {known.name}
    assert answers[-1].is_final
    assert answers[-1].span.start_frame + answers[-1].span.frame_count == len(sound)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "STREAM_OUT_OF_ORDER"),
        ([{"frames": b""}], "STREAM_OUT_OF_ORDER"),
        ([{"config": {"format": FORMAT}}] * 2, "STREAM_OUT_OF_ORDER"),
        ([{"config": {"format": FORMAT}}, {"frames": b"123"}], "FRAMES_INVALID"),
        ([{"config": {"format": FORMAT}}, {"frames": b"\xff" * 8}], "FRAMES_INVALID"),
        ([{"config": {"format": FORMAT, "engine": "ear"}}], "ENGINE_UNKNOWN"),
    ],
)
async def test_streams_say_what_is_wrong(
    ada: AsyncChorale, messages: list[dict[str, Any]], reason: str
) -> None:
    """Every way to speak wrongly has its reason."""

    async def requests() -> AsyncIterator[listening_pb2.IdentifyStreamRequest]:
        for each in messages:
            yield listening_pb2.IdentifyStreamRequest(**each)

    with pytest.raises(ChoraleError) as caught:
        _ = [each async for each in ada.fingerprint.IdentifyStream(requests())]
    assert caught.value.reason == reason
