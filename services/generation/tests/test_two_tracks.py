"""One track out of two over the wire, beside a real ingest, analysis and mastering."""

import asyncio
import io
import time
import urllib.request
import uuid
from functools import partial
from typing import Any

import grpc
import numpy as np
import operation_calls
import pytest
import pytest_asyncio
import signals
import soundfile
from chorale.audio.v1 import audio_pb2
from chorale.generation.v1 import (
    explain_pb2,
    generation_service_pb2,
    outputs_pb2,
    tracks_pb2,
)
from chorale.ingest.v1 import audio_pb2 as catalogue_pb2
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_generation.engines import EXPLAIN
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from language_model import LanguageModel
from standing_ingest import Ingest

# One mesh for all tests: starting it takes longer than any of them.
pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT_SECONDS = 120
RATE_HZ, FRAMES, SHORT_FRAMES = 24000, 384_000, 120_000
SHORT: dict[str, Any] = {
    "seed": 7,
    "output": outputs_pb2.OutputSettings(duration_seconds=SHORT_FRAMES / RATE_HZ),
    "mosaic": tracks_pb2.MosaicSettings(section_bars=1),
}
Made = tuple[Any, tracks_pb2.GenerateFromTracksResponse, list[str]]


@pytest.fixture(scope="session")
def tracks(ingest: Ingest) -> tuple[str, str]:
    """Two songs of known tempo and key."""
    one = ingest.put(signals.song(120, "A", "minor", 18, seed=1))
    other = ingest.put(signals.song(100, "D", "major", 18, seed=2))
    return one.name, other.name


def asking(tracks: tuple[str, str], **fields: Any) -> tracks_pb2.GenerateFromTracksRequest:
    """A request to make one of two, under a new UUID."""
    clips = [audio_pb2.Clip(audio=audio) for audio in tracks]
    request_id = str(uuid.uuid4())
    given: dict[str, Any] = {
        "track_1": clips[0],
        "track_2": clips[1],
        "request_id": request_id,
    } | fields
    return tracks_pb2.GenerateFromTracksRequest(**given)


ended = partial(operation_calls.ended, wait_seconds=WAIT_SECONDS)


def fetched(url: str) -> tuple[Any, Any]:
    """What is behind a signed URL: the file's description and its frames."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        data = answer.read()
    return soundfile.info(io.BytesIO(data)), soundfile.read(io.BytesIO(data), dtype="float32")[0]


async def made(channel: Any, generation: Any, request: Any) -> Made:
    """Makes to the end: the operation, its answer and its stages."""
    done, stages = await ended(channel, await generation.GenerateFromTracks(request))
    answer = tracks_pb2.GenerateFromTracksResponse()
    assert done.response.Unpack(answer), done.error
    return done, answer, stages


def info(status: Any) -> error_details_pb2.ErrorInfo:
    """Why an operation or a call failed."""
    found = error_details_pb2.ErrorInfo()
    if isinstance(status, grpc.aio.AioRpcError):
        trailers: Any = status.trailing_metadata()
        status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    assert any(detail.Unpack(found) for detail in status.details), status
    return found


def _adherence(made: Made) -> Any:
    return made[1].generation.adherence


async def heard(generation: Any, operation: str, start_frame: int = 0, most: int = 0) -> Any:
    """Frames of `StreamGeneration`, and its last message; cut off after `most` messages."""
    request = tracks_pb2.StreamGenerationRequest(operation=operation, start_frame=start_frame)
    data, frame, count, last = b"", start_frame, 0, None
    async for last in generation.StreamGeneration(request, timeout=WAIT_SECONDS):
        if last.frames:
            assert last.span.start_frame == frame
            assert last.span.frame_count * 4 == len(last.frames)
            frame += last.span.frame_count
            data, count = data + last.frames, count + 1
        if count == most > 0:
            break
    return np.frombuffer(data, "<f4"), last


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def default(channel: Any, generation: Any, tracks: tuple[str, str]) -> Made:
    """What the defaults make, by seed 7."""
    return await made(channel, generation, asking(tracks, seed=7))


async def test_two_songs_become_one_file(default: Made, ingest: Ingest, tracks: Any) -> None:
    """24 kHz, mono, 16 bits, 16 s; the owner's audio with both parents, through all stages."""
    _, answer, stages = default
    assert {"reading", "encoding", "generating", "decoding", "finishing"} <= set(stages)
    file, _ = fetched(answer.generation.url)
    assert (file.samplerate, file.channels, file.frames) == (RATE_HZ, 1, FRAMES)
    assert file.subtype == "PCM_16"
    assert answer.audio == answer.generation.audio
    assert answer.seed == answer.generation.seed == 7
    with grpc.insecure_channel(ingest.address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        known = stub.GetAudio(catalogue_pb2.GetAudioRequest(name=answer.audio), timeout=10).audio
    assert sorted(known.parents) == sorted(tracks)
    assert known.provenance.engine_used == "mosaic"


async def test_the_result_keeps_what_was_meant(default: Made) -> None:
    """Tempo between both, a compatible key, -14 LUFS, beats within 30 ms: by our own services."""
    _, answer, _ = default
    adherence = answer.generation.adherence
    assert adherence.passed, adherence.warnings
    assert adherence.wanted_bpm == pytest.approx(109.5, abs=1.0)
    assert adherence.integrated_lufs == pytest.approx(-14.0, abs=0.5)
    assert adherence.true_peak_dbtp <= 0.0
    assert answer.rhythm.worst_beat_error_ms <= 30.0
    assert answer.rhythm.track_1_correlation > 0.2
    assert 0.0 < answer.rhythm.balance <= 1.0
    told = answer.provenance.settings
    assert float(told["track_1.bpm"]) == pytest.approx(120.0, abs=1.0)
    assert told["track_2.key"] == "D major"


async def test_listening_ends_with_the_audio(channel: Any, generation: Any, tracks: Any) -> None:
    """Frames heard while they are made are those of the file; resuming sends the rest."""
    operation = await generation.GenerateFromTracks(asking(tracks, **SHORT))
    first, _ = await heard(generation, operation.name, most=1)
    assert 0 < len(first) < SHORT_FRAMES
    rest, last = await heard(generation, operation.name, start_frame=len(first))
    done, _ = await ended(channel, operation)
    answer = tracks_pb2.GenerateFromTracksResponse()
    assert done.response.Unpack(answer)
    assert last.is_final
    assert (last.audio, last.revised) == (answer.audio, False)
    _, stored = fetched(answer.generation.url)
    assert np.array_equal(np.concatenate([first, rest]), stored)
    again, last = await heard(generation, operation.name, start_frame=SHORT_FRAMES - 10)
    assert np.array_equal(again, stored[-10:])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heard(generation, operation.name, start_frame=SHORT_FRAMES)
    assert info(caught.value).reason == "SPAN_PAST_END"


async def test_the_same_seed_makes_the_same_audio(
    channel: Any, generation: Any, tracks: Any
) -> None:
    """Audio is named by its frames: the same seed gives the same name, another another."""
    _, one, _ = await made(channel, generation, asking(tracks, **SHORT))
    _, again, _ = await made(channel, generation, asking(tracks, **SHORT))
    _, other, _ = await made(channel, generation, asking(tracks, **(SHORT | {"seed": 8})))
    assert again.audio == one.audio
    assert other.audio != one.audio


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("", "Track 2 is in D major."),
        ("de", "Spur 2 steht in D major."),
        ("ru", "Тональность дорожки 2: D major."),
        ("zh", "音轨 2 的调是 D major。"),
    ],
)
async def test_an_operation_is_explained(
    generation: Any, default: Made, language: str, sentence: str
) -> None:
    """Facts, the same in words, and advice: all of it from the record."""
    request = explain_pb2.ExplainRequest(operation=default[0].name, language=language)
    answer = await generation.Explain(request)
    facts = {fact.name: fact for fact in answer.facts}
    assert facts["track_2.key"].value == "D major"
    assert facts["seed"].value == "7"
    assert facts["bpm"].value.removesuffix(" BPM") == f"{_adherence(default).found_bpm:.1f}"
    assert {"input", "heard", "setting", "engine", "result"} <= {f.subject for f in answer.facts}
    assert sentence in answer.text
    assert {each.field for each in answer.advice} >= {"mosaic.influence", "seed"}


async def test_explanations_name_who_put_them_into_words(
    generation: Any, default: Made, language_model: LanguageModel
) -> None:
    """Facts and advice are those of the record, whoever words them; `ListEngines` tells of both."""
    request = explain_pb2.ExplainRequest(operation=default[0].name)
    plain = await generation.Explain(request)
    request.engine = "openai"
    language_model.answer = "A track of two."
    answer = await generation.Explain(request)
    assert (answer.text, answer.provenance.engine_used) == ("A track of two.", "openai")
    assert (answer.facts, answer.advice) == (plain.facts, plain.advice)
    assert language_model.requests[-1][1]["messages"][1]["content"] == plain.text
    language_model.answer = "A track of 9999999."
    answer = await generation.Explain(request)
    assert (answer.text, answer.provenance.engine_used) == (plain.text, "chorale")
    assert "9999999" in answer.provenance.settings["rephrasing_refused"]
    listing = generation_service_pb2.ListEnginesRequest(capability=EXPLAIN)
    engines = (await generation.ListEngines(listing)).engines
    assert [(each.name, each.available) for each in engines] == [
        ("chorale", True),
        ("openai", True),
    ]


async def test_what_cannot_be_explained_says_why(
    channel: Any, generation: Any, tracks: Any
) -> None:
    """Unknown, not ended, failed, and an engine that does not explain: each by its name."""

    async def reason(operation: str, engine: str = "") -> str:
        request = explain_pb2.ExplainRequest(operation=operation, engine=engine)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generation.Explain(request)
        return str(info(caught.value).reason)

    assert await reason(f"operations/{uuid.uuid4()}") == "OPERATION_NOT_FOUND"
    long = asking(tracks, output=outputs_pb2.OutputSettings(duration_seconds=300.0))
    operation = await generation.GenerateFromTracks(long)
    assert await reason(operation.name) == "OPERATION_NOT_DONE"
    assert await reason(operation.name, engine="mosaic") == "ENGINE_UNKNOWN"
    cancel = operations_pb2.CancelOperationRequest(name=operation.name)
    await operations_pb2_grpc.OperationsStub(channel).CancelOperation(cancel)
    await ended(channel, operation)
    assert await reason(operation.name) == "OPERATION_UNFIT"


async def test_options_change_what_is_written(channel: Any, generation: Any, tracks: Any) -> None:
    """Length, rate, channels, bits, loudness, tempo and key are as asked for."""
    request = asking(
        tracks,
        seed=1,
        output=outputs_pb2.OutputSettings(
            duration_seconds=5.0,
            sample_rate_hz=44100,
            channel_count=2,
            bit_depth=24,
            loudness_lufs=-20.0,
            title="Both",
        ),
        mosaic=tracks_pb2.MosaicSettings(influence=0.2, bpm=104.0, key="E minor", section_bars=1),
    )
    _, answer, _ = await made(channel, generation, request)
    file, _ = fetched(answer.generation.url)
    assert (file.samplerate, file.channels, file.frames) == (44100, 2, 220_500)
    assert file.subtype == "PCM_24"
    adherence = answer.generation.adherence
    assert adherence.integrated_lufs == pytest.approx(-20.0, abs=0.5)
    assert (adherence.wanted_bpm, adherence.wanted_key) == (104.0, "E minor")


async def test_silence_is_refused_by_name(channel: Any, generation: Any, ingest: Ingest) -> None:
    """A silent track fails the operation with AUDIO_SILENT, and nothing can be heard of it."""
    silent = ingest.put(signals.silence(4)).name
    operation = await generation.GenerateFromTracks(asking((silent, silent)))
    done, _ = await ended(channel, operation)
    assert info(done.error).reason == "AUDIO_SILENT"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heard(generation, operation.name)
    assert info(caught.value).reason == "OPERATION_UNFIT"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"track_1": audio_pb2.Clip(audio="audio/" + "0" * 64)}, "AUDIO_NOT_FOUND"),
        ({"span": (10_000_000, 0)}, "SPAN_PAST_END"),
        ({"span": (0, 30_000)}, "AUDIO_TOO_SHORT"),
        ({"mosaic": tracks_pb2.MosaicSettings(bpm=3.0)}, "SETTING_UNSUPPORTED"),
        ({"cascade": tracks_pb2.CascadeSettings(stage_count=1)}, "SETTING_UNSUPPORTED"),
        ({"output": outputs_pb2.OutputSettings(watermark=True)}, "SETTING_UNSUPPORTED"),
    ],
)
async def test_what_cannot_be_made_is_refused_at_once(
    generation: Any, tracks: Any, fields: dict[str, Any], reason: str
) -> None:
    """All that can be known to be wrong is said before anything starts."""
    if "span" in fields:
        start_frame, frame_count = fields.pop("span")
        span = audio_pb2.FrameSpan(start_frame=start_frame, frame_count=frame_count)
        fields = {"track_1": audio_pb2.Clip(audio=tracks[0], span=span)}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generation.GenerateFromTracks(asking(tracks, **fields))
    assert info(caught.value).reason == reason


async def test_validating_tells_the_cost(generation: Any, tracks: Any) -> None:
    """`validate_only` is done at once and makes nothing."""
    operation = await generation.GenerateFromTracks(asking(tracks, validate_only=True))
    answer = tracks_pb2.GenerateFromTracksResponse()
    assert operation.done
    assert operation.response.Unpack(answer)
    assert not answer.audio
    assert (answer.estimate.engine, answer.estimate.output_bytes) == ("mosaic", 2 * FRAMES)


async def test_cancelling_ends_it_soon(channel: Any, generation: Any, tracks: Any) -> None:
    """A mosaic that is cancelled while it works is over soon, and can no longer be heard."""
    request = asking(tracks, output=outputs_pb2.OutputSettings(duration_seconds=300.0))
    operation = await generation.GenerateFromTracks(request)
    first, _ = await heard(generation, operation.name, most=1)
    assert len(first)
    cancel = operations_pb2.CancelOperationRequest(name=operation.name)
    asked_at = time.monotonic()
    await operations_pb2_grpc.OperationsStub(channel).CancelOperation(cancel)
    done, _ = await asyncio.wait_for(ended(channel, operation), 10)
    assert done.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert time.monotonic() - asked_at < 3.0  # a second, on a machine that does nothing else
