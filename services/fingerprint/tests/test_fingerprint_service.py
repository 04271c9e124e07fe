"""FingerprintService over the wire: real ingest, storage, database, processes and sockets."""

import asyncio
import importlib
import io
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import (
    catalogue_pb2,
    fingerprint_service_pb2,
    listening_pb2,
    recordings_pb2,
)
from chorale.fingerprint.v1 import fingerprint_service_pb2 as service_pb2
from chorale_client import AsyncChorale, ChoraleError, Patience
from chorale_fingerprint.app import build
from chorale_fingerprint.codes import FRAMES_PER_CODE
from chorale_fingerprint.settings import Settings
from chorale_runtime.server import running
from google.longrunning import operations_pb2

RATE_HZ = 22050
HOP_FRAMES = 2 * FRAMES_PER_CODE  # at 22050 Hz
MakeSong = Callable[..., np.ndarray]
As = Callable[[str], AsyncChorale]

# One service for all tests: each has owners of its own, who know nothing of the others'.
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("fingerprint-service"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(settings: Settings) -> AsyncIterator[As]:
    """A fingerprint service, and clients of it and of ingest in anybody's name."""
    clients: list[AsyncChorale] = []

    async with running(settings, build) as server:

        def client(owner: str) -> AsyncChorale:
            addresses = {"ingest": settings.ingest_address, "fingerprint": server.address}
            on_behalf = (("chorale-on-behalf-of", owner),)
            clients.append(AsyncChorale(addresses=addresses, metadata=on_behalf))
            return clients[-1]

        yield client
        for each in clients:
            await each.close()


@pytest.fixture
def ada(mesh: As) -> AsyncChorale:
    """One who enrols."""
    return mesh(f"ada-{uuid.uuid4()}")


@pytest.fixture
def eve(mesh: As) -> AsyncChorale:
    """One who looks on."""
    return mesh(f"eve-{uuid.uuid4()}")


def _wav(signal: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, signal, rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


async def _put(client: AsyncChorale, signal: np.ndarray, name: str = "song.wav") -> str:
    return (await client.put(_wav(signal), file_name=name)).name


async def _enroll(client: AsyncChorale, audio: str, **said: Any) -> recordings_pb2.EnrollResponse:
    request = recordings_pb2.EnrollRequest(audio=audio, request_id=str(uuid.uuid4()), **said)
    started = await client.start(client.fingerprint.Enroll, request, recordings_pb2.EnrollResponse)
    return await started.result(60)


async def _identify(
    client: AsyncChorale, audio: str, **said: Any
) -> recordings_pb2.IdentifyResponse:
    request = recordings_pb2.IdentifyRequest(audio=audio, request_id=str(uuid.uuid4()), **said)
    started = await client.start(
        client.fingerprint.Identify, request, recordings_pb2.IdentifyResponse
    )
    return await started.result(60)


async def test_an_excerpt_is_known_with_its_place(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Ten noisy seconds of an enrolled song are found, with offsets in both and a sure score."""
    song = make_song(1, 30.0)
    enrolled = await _enroll(ada, await _put(ada, song), title="Song", artist="Ada")
    assert enrolled.created
    await _enroll(ada, await _put(ada, make_song(2)))

    start, lead_in = 9 * RATE_HZ, 2 * RATE_HZ
    random = np.random.default_rng(3)
    clip = np.concatenate([make_song(5)[:lead_in], song[start : start + 10 * RATE_HZ]])
    clip = clip + random.standard_normal(len(clip)).astype(np.float32) * 0.005
    answer = await _identify(ada, await _put(ada, clip.astype(np.float32)))

    (match,) = answer.matches
    assert match.recording.name == enrolled.recording.name
    assert (match.recording.title, match.recording.artist) == ("Song", "Ada")
    placed = match.recording_span.start_frame - match.query_span.start_frame
    assert placed == pytest.approx(start - lead_in, abs=2 * HOP_FRAMES)
    assert match.query_span.frame_count > 6 * RATE_HZ
    assert match.score > 0.6
    assert 0.0 < match.false_positive_rate < 1e-3
    assert answer.provenance.engine_used == "landmarks"
    assert answer.provenance.engine_requested == "auto"


async def test_unknown_music_is_not_found(ada: AsyncChorale, make_song: MakeSong) -> None:
    """A song that nobody enrolled matches nothing."""
    await _enroll(ada, await _put(ada, make_song(1)))
    assert not (await _identify(ada, await _put(ada, make_song(4)))).matches


async def test_the_same_file_is_known_at_once(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Enrolled again, a file is not enrolled again, and the answer says so and why."""
    audio = await _put(ada, make_song(1))
    first, second = await _enroll(ada, audio), await _enroll(ada, audio)
    assert second.recording.name == first.recording.name
    assert not second.created
    assert second.duplicates.level == recordings_pb2.DUPLICATE_LEVEL_FILE
    assert second.duplicates.decision == recordings_pb2.DUPLICATE_POLICY_WARN
    assert first.recording.chromaprint.startswith("AQAA")


async def test_another_file_of_it_becomes_an_alias(ada: AsyncChorale, make_song: MakeSong) -> None:
    """The same recording in another file joins it, at every sample rate."""
    first = await _enroll(ada, await _put(ada, make_song(1)))
    quieter = await _put(ada, make_song(1) * np.float32(0.7))
    second = await _enroll(ada, quieter)
    assert not second.created
    assert second.recording.name == first.recording.name
    assert second.duplicates.level == recordings_pb2.DUPLICATE_LEVEL_ACOUSTIC
    request = catalogue_pb2.GetRecordingRequest(name=first.recording.name)
    told = (await ada.fingerprint.GetRecording(request)).recording
    assert list(told.aliases) == [quieter]


async def test_many_who_enrol_at_once_leave_one_recording(
    ada: AsyncChorale, make_song: MakeSong
) -> None:
    """Twelve concurrent enrolments of four files of one recording leave one."""
    files = [await _put(ada, make_song(1) * np.float32(gain)) for gain in (1.0, 0.9, 0.8, 0.7)]
    answers = await asyncio.gather(*(_enroll(ada, audio) for audio in files * 3))
    assert len({answer.recording.name for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    listed = await ada.fingerprint.ListRecordings(catalogue_pb2.ListRecordingsRequest())
    assert len(listed.recordings) == 1
    assert len(listed.recordings[0].aliases) == 3


async def test_owners_hear_nothing_of_each_other(
    ada: AsyncChorale, eve: AsyncChorale, make_song: MakeSong
) -> None:
    """What one enrolled in private another can neither find, read, list nor delete."""
    mine = (await _enroll(ada, await _put(ada, make_song(1)))).recording
    hers = await _put(eve, make_song(1))
    assert not (await _identify(eve, hers, min_score=0.0)).matches
    assert (await _enroll(eve, hers)).created
    listed = await eve.fingerprint.ListRecordings(catalogue_pb2.ListRecordingsRequest())
    assert [recording.name == mine.name for recording in listed.recordings] == [False]
    for call, request in (
        (eve.fingerprint.GetRecording, catalogue_pb2.GetRecordingRequest(name=mine.name)),
        (eve.fingerprint.DeleteRecording, catalogue_pb2.DeleteRecordingRequest(name=mine.name)),
    ):
        with pytest.raises(ChoraleError) as caught:
            await call(request)
        assert caught.value.reason == "RECORDING_NOT_FOUND"


async def test_public_recordings_are_found_and_keep_their_secrets(
    ada: AsyncChorale, eve: AsyncChorale, make_song: MakeSong
) -> None:
    """Others find a public recording, and not from which audio it is nor how it is labelled."""
    public = recordings_pb2.PRIVACY_PUBLIC
    audio = await _put(ada, make_song(50))
    await _enroll(ada, audio, privacy=public, title="Open", labels={"note": "mine"})
    clip = await _put(eve, make_song(50)[: 9 * RATE_HZ])
    (match,) = (await _identify(eve, clip)).matches
    assert match.recording.title == "Open"
    assert (match.recording.audio, dict(match.recording.labels)) == ("", {})
    assert not (await _identify(eve, clip, own_only=True)).matches
    (own,) = (await _identify(ada, audio, own_only=True)).matches
    assert own.recording.audio == audio


async def test_what_was_deleted_is_known_no_more(ada: AsyncChorale, make_song: MakeSong) -> None:
    """After deletion a recording matches nothing and can be enrolled anew."""
    audio = await _put(ada, make_song(1))
    name = (await _enroll(ada, audio)).recording.name
    await ada.fingerprint.DeleteRecording(catalogue_pb2.DeleteRecordingRequest(name=name))
    assert not (await _identify(ada, audio)).matches
    assert (await _enroll(ada, audio)).created


async def test_lists_page_and_filter(ada: AsyncChorale, make_song: MakeSong) -> None:
    """Pages join to the whole list, newest first; a token of another list is refused."""
    names = []
    for seed in (1, 2, 3):
        audio = await _put(ada, make_song(seed))
        names.append((await _enroll(ada, audio, title=f"Song {seed}")).recording.name)
    call, seen, request = ada.fingerprint.ListRecordings, [], catalogue_pb2.ListRecordingsRequest()
    request.page_size = 2
    while True:
        page = await call(request)
        seen += [recording.name for recording in page.recordings]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
        token = request.page_token
    assert seen == names[::-1]
    found = await call(catalogue_pb2.ListRecordingsRequest(text="song 2"))
    assert [recording.name for recording in found.recordings] == [names[1]]
    with pytest.raises(ChoraleError) as caught:
        await call(catalogue_pb2.ListRecordingsRequest(text="x", page_token=token))
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_chromaprint_is_what_acoustid_takes(ada: AsyncChorale, make_song: MakeSong) -> None:
    """The fingerprint and its raw codes are one, and the duration is the audio's."""
    request = listening_pb2.ComputeChromaprintRequest(
        audio=await _put(ada, make_song(1)), request_id=str(uuid.uuid4())
    )
    started = await ada.start(
        ada.fingerprint.ComputeChromaprint, request, listening_pb2.ComputeChromaprintResponse
    )
    answer = await started.result(60)
    chromaprint = importlib.import_module("chromaprint")
    raw, algorithm = chromaprint.decode_fingerprint(answer.chromaprint.encode())
    assert raw == list(answer.raw)
    assert algorithm == 1
    assert answer.duration_seconds == pytest.approx(12.0)


async def test_estimates_cost_nothing(ada: AsyncChorale, make_song: MakeSong) -> None:
    """With `validate_only` the answer is there at once, and nothing is enrolled."""
    request = recordings_pb2.EnrollRequest(
        audio=await _put(ada, make_song(1)), request_id=str(uuid.uuid4()), validate_only=True
    )
    operation: operations_pb2.Operation = await ada.fingerprint.Enroll(request)
    answer = recordings_pb2.EnrollResponse()
    assert operation.done
    assert operation.response.Unpack(answer)
    assert answer.estimate.seconds > 0
    assert not answer.HasField("recording")
    listed = await ada.fingerprint.ListRecordings(catalogue_pb2.ListRecordingsRequest())
    assert not listed.recordings


async def test_engines_are_told(ada: AsyncChorale) -> None:
    """The engines say version, licence and that they are here; a filter filters."""
    engine, plain = await ada.engines("fingerprint", "identify")
    assert (engine.name, engine.available, engine.is_default) == ("landmarks", True, True)
    assert (plain.name, plain.available, plain.is_default) == ("chromaprint", True, False)
    assert engine.version[0].isdigit()
    assert "LGPL-2.1" in engine.code_licence
    assert await ada.engines("fingerprint", "telepathy") == []


SILENCE = np.zeros(10 * RATE_HZ, np.float32)
NOISE = np.random.default_rng(1).standard_normal(10 * RATE_HZ).astype(np.float32) * 0.1
_TIME = np.arange(10 * RATE_HZ) / RATE_HZ
DRONE = (0.2 * np.sin(2 * np.pi * 220 * _TIME)).astype(np.float32)
CLICKS = (np.arange(10 * RATE_HZ) % (RATE_HZ // 2) < 40).astype(np.float32) * 0.8


@pytest.mark.parametrize(
    ("signal", "said", "reason"),
    [
        (SILENCE, {}, "NOT_DISTINCTIVE"),
        (NOISE, {}, "NOT_DISTINCTIVE"),
        (DRONE, {}, "NOT_DISTINCTIVE"),
        (CLICKS, {}, "NOT_DISTINCTIVE"),
        (NOISE[: 2 * RATE_HZ], {}, "AUDIO_TOO_SHORT"),
        (NOISE, {"engine": "ear"}, "ENGINE_UNKNOWN"),
        (NOISE, {"span": audio_pb2.FrameSpan(start_frame=len(NOISE))}, "SPAN_PAST_END"),
        (None, {"audio": "audio/" + "0" * 64}, "AUDIO_NOT_FOUND"),
        (None, {"audio": "audio/x"}, "REQUEST_INVALID"),
    ],
)
async def test_what_cannot_be_enrolled_says_why(
    ada: AsyncChorale, signal: np.ndarray | None, said: dict[str, Any], reason: str
) -> None:
    """Every way to be wrong has its reason, from the call or from the operation."""
    audio = said.get("audio") or await _put(ada, NOISE if signal is None else signal)
    with pytest.raises(ChoraleError) as caught:
        await _enroll(ada, audio, **{k: v for k, v in said.items() if k != "audio"})
    assert caught.value.reason == reason


async def test_rejected_duplicates_name_what_is_known(
    ada: AsyncChorale, make_song: MakeSong
) -> None:
    """Under `reject` a known recording is refused, by file and by ear, with its name."""
    audio = await _put(ada, make_song(1))
    known = (await _enroll(ada, audio)).recording.name
    for duplicate in (audio, await _put(ada, make_song(1) * np.float32(0.8))):
        with pytest.raises(ChoraleError) as caught:
            await _enroll(ada, duplicate, policy=recordings_pb2.DUPLICATE_POLICY_REJECT)
        assert caught.value.reason == "DUPLICATE_REJECTED"
        assert caught.value.metadata["recording"] == known


async def test_without_the_library_the_engine_says_what_to_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where libchromaprint is absent the service serves, and names the command that brings it."""
    monkeypatch.setitem(sys.modules, "chromaprint", None)
    async with running(settings, build) as server:
        addresses = {"ingest": settings.ingest_address, "fingerprint": server.address}
        async with AsyncChorale(addresses=addresses) as client:
            listening = [one for one in await client.engines("fingerprint") if one.name != "cosine"]
            assert len(listening) == 3
            for engine in listening:
                assert (engine.available, engine.remedy) == (
                    False,
                    "apt-get install -y libchromaprint1",
                )
            with pytest.raises(ChoraleError) as caught:
                await _enroll(client, "audio/" + "0" * 64)
            assert caught.value.reason == "ENGINE_UNAVAILABLE"
            assert caught.value.metadata["remedy"] == "apt-get install -y libchromaprint1"


async def test_what_is_said_of_a_recording_can_be_changed(
    ada: AsyncChorale, eve: AsyncChorale, make_song: MakeSong
) -> None:
    """The fields of the mask change, the others stay; made public, others find it."""
    made = (await _enroll(ada, await _put(ada, make_song(1)), title="Song", artist="Ada")).recording
    wanted = recordings_pb2.Recording(
        name=made.name,
        title="Other",
        artist="Nobody",
        labels={"mood": "calm"},
        privacy=recordings_pb2.PRIVACY_PUBLIC,
    )
    paths = {"paths": ["title", "labels", "privacy"]}
    request = catalogue_pb2.UpdateRecordingRequest(recording=wanted, update_mask=paths)
    with pytest.raises(ChoraleError) as caught:
        await eve.fingerprint.UpdateRecording(request)
    assert caught.value.reason == "RECORDING_NOT_FOUND"
    told = (await ada.fingerprint.UpdateRecording(request)).recording
    assert (told.title, told.artist, dict(told.labels)) == ("Other", "Ada", {"mood": "calm"})
    answer = await _identify(eve, await _put(eve, make_song(1)))
    assert [match.recording.name for match in answer.matches] == [made.name]

    wanted.song = f"songs/{uuid.uuid4()}"
    request = catalogue_pb2.UpdateRecordingRequest(recording=wanted)
    with pytest.raises(ChoraleError) as caught:
        await ada.fingerprint.UpdateRecording(request)
    assert caught.value.reason == "SONG_NOT_FOUND"
    delete = catalogue_pb2.DeleteRecordingRequest(name=made.name)
    await ada.fingerprint.DeleteRecording(delete)


async def test_acoustid_is_off_unless_configured(ada: AsyncChorale) -> None:
    """Without a key the answer says which setting is missing; unknown recordings are unknown."""
    asked = listening_pb2.LookUpAcoustIdRequest(chromaprint="AQAA", duration_seconds=10.0)
    with pytest.raises(ChoraleError) as caught:
        await ada.fingerprint.LookUpAcoustId(asked)
    assert caught.value.reason == "PROVIDER_NOT_CONFIGURED"
    asked = listening_pb2.LookUpAcoustIdRequest(recording=f"recordings/{uuid.uuid4()}")
    with pytest.raises(ChoraleError) as caught:
        await ada.fingerprint.LookUpAcoustId(asked)
    assert caught.value.reason == "RECORDING_NOT_FOUND"


async def test_page_tokens_of_engines_are_their_own(ada: AsyncChorale) -> None:
    """Engines page like any list."""
    request = service_pb2.ListEnginesRequest(page_size=2)
    first = await ada.fingerprint.ListEngines(request)
    request.page_token = first.next_page_token
    second = await ada.fingerprint.ListEngines(request)
    told = {engine.capability for page in (first, second) for engine in page.engines}
    assert told == {"identify", "chromaprint", "similar"}
    assert not second.next_page_token
    other = fingerprint_service_pb2.ListEnginesRequest(
        capability="identify", page_token=first.next_page_token
    )
    with pytest.raises(ChoraleError) as caught:
        await ada.fingerprint.ListEngines(other)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_without_ingest_callers_are_told_to_retry(settings: Settings) -> None:
    """While ingest is away, calls that need it answer UNAVAILABLE, and others work."""
    async with running(replace(settings, ingest_address="127.0.0.1:1"), build) as server:
        addresses = {"ingest": "127.0.0.1:1", "fingerprint": server.address}
        at_once = Patience(retry_seconds=0.0)
        async with AsyncChorale(addresses=addresses, patience=at_once) as client:
            assert await client.engines("fingerprint")
            request = recordings_pb2.IdentifyRequest(
                audio="audio/" + "0" * 64, request_id=str(uuid.uuid4())
            )
            with pytest.raises(ChoraleError) as caught:
                await client.fingerprint.Identify(request)
            told = (caught.value.code, caught.value.reason)
            assert told == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
            assert caught.value.metadata["dependency"] == "ingest"
            assert caught.value.retry_after_seconds
