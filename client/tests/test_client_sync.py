"""The sync face does what the async one does, in threads, in notebooks, in scripts."""

import asyncio
import gc
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chorale.ingest.v1.audio_pb2 import GetAudioRequest
from chorale.ingest.v1.reading_pb2 import ReadBytesRequest
from chorale.ingest.v1.upload_pb2 import StartUploadRequest, WriteUploadRequest
from chorale.mastering.v1.loudness_pb2 import MeasureLoudnessRequest, MeasureLoudnessResponse
from chorale_client import (
    AsyncChorale,
    AsyncOperation,
    AsyncOperations,
    Chorale,
    NotFoundError,
    Operation,
    Operations,
    RequestError,
)
from chorale_client.aio import Options
from client_songs import pcm, song
from loopback import PATIENCE, SmallMesh

WAV = song(1)


@pytest.fixture
def address(small_mesh: SmallMesh) -> str:
    """Where ingest and mastering answer."""
    return small_mesh.address


@pytest.fixture
def chorale(address: str) -> Iterator[Chorale]:
    """A sync client of it."""
    with Chorale(address, patience=PATIENCE) as client:
        yield client


@pytest.mark.parametrize(
    ("blocking", "awaiting"),
    [(Chorale, AsyncChorale), (Operation, AsyncOperation), (Operations, AsyncOperations)],
)
def test_both_faces_have_the_same_methods(blocking: type, awaiting: type) -> None:
    """Each public method of one is in the other, with the same parameters."""

    def methods(kind: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(member).parameters.values()
            ]
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(blocking) == methods(awaiting)


def test_both_faces_are_made_alike() -> None:
    """The options of the sync face are the arguments of the async one."""
    arguments = set(inspect.signature(AsyncChorale).parameters) - {"endpoint"}
    assert set(Options.__annotations__) == arguments


def test_a_song_goes_in_and_comes_out(chorale: Chorale, tmp_path: Path) -> None:
    """put, info, list, read_frames, read_bytes, get, usage, engines, delete."""
    audio = chorale.put(WAV, title="One")
    assert chorale.info(audio).title == "One"
    assert [one.name for one in chorale.list()] == [audio.name]
    assert b"".join(run.pcm for run in chorale.read_frames(audio)) == pcm(WAV)
    assert b"".join(chorale.read_bytes(audio, 1)) == WAV[1:]
    assert chorale.get(audio, tmp_path / "one.wav").read_bytes() == WAV
    assert chorale.usage().tier == "local"
    assert chorale.engines("ingest")[0].name == "wave"
    assert list(chorale.delete(audio)) == [audio.name]
    with pytest.raises(NotFoundError):
        chorale.info(audio)


def test_long_work_can_be_followed(chorale: Chorale) -> None:
    """`for event in operation`, `operation.result()`, find again, list, delete."""
    request = MeasureLoudnessRequest(audio=f"audio/{'0' * 64}")
    operation = chorale.start(chorale.mastering.MeasureLoudness, request, MeasureLoudnessResponse)
    assert [event.sequence for event in operation] == [1, 2, 3, 4, 5]
    assert operation.result().loudness.integrated_lufs == -14.0
    again = chorale.operations.get(operation.name)
    assert (again.done, again.service) == (True, "mastering")
    assert isinstance(again.result(), MeasureLoudnessResponse)
    again.cancel()
    assert again.refresh().state.done
    assert [one.name for one in chorale.operations.list("mastering")] == [operation.name]
    chorale.operations.delete(operation.name)


def test_raw_calls_need_no_await(chorale: Chorale) -> None:
    """Unary, server stream, client stream: answers and plain iterators."""
    upload = chorale.ingest.StartUpload(StartUploadRequest(size_bytes=len(WAV))).upload
    messages = [WriteUploadRequest(upload=upload.name, data=WAV, finish=True)]
    audio = chorale.ingest.WriteUpload(messages).audio
    assert chorale.ingest.GetAudio(GetAudioRequest(name=audio.name)).audio == audio
    answers = chorale.ingest.ReadBytes(ReadBytesRequest(audio=audio.name))
    assert b"".join(answer.data for answer in answers) == WAV
    assert "GetAudio" in dir(chorale.ingest)


async def test_it_works_where_a_loop_is_running(address: str) -> None:
    """As in a notebook: the caller's own loop is not touched."""
    assert asyncio.get_running_loop().is_running()
    with Chorale(address, patience=PATIENCE) as chorale:
        assert chorale.usage().tier == "local"


def test_threads_may_share_it(chorale: Chorale) -> None:
    """Twenty threads at once."""
    with ThreadPoolExecutor(20) as pool:
        audio = list(pool.map(lambda seed: chorale.put(song(seed, 8000)).name, range(20)))
    assert len(set(audio)) == 20


def test_a_reading_that_is_left_is_ended(chorale: Chorale) -> None:
    """Leaving the loop early leaves nothing running."""
    audio = chorale.put(WAV)
    frames = chorale.read_frames(audio, chunk_bytes=8192)
    next(frames)
    frames.close()
    assert chorale.usage().tier == "local"


def test_closing_ends_its_thread(address: str) -> None:
    """After close, or when it is forgotten, no thread is left; closing twice is harmless."""

    def threads() -> int:
        return sum(thread.name == "chorale" for thread in threading.enumerate())

    before = threads()
    chorale = Chorale(address)
    assert threads() == before + 1
    chorale.close()
    chorale.close()
    assert threads() == before
    forgotten = Chorale(address)
    del forgotten
    gc.collect()
    assert threads() == before


def test_a_wrong_argument_leaves_no_thread() -> None:
    """What cannot be built is cleaned up, and says why."""
    before = threading.active_count()
    with pytest.raises(RequestError):
        Chorale("nonsense")
    assert threading.active_count() == before
