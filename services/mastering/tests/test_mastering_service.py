"""MasteringService over the wire, beside a real ingest."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
import signals
from chorale.audio.v1 import audio_pb2
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from operation_calls import ended
from signals import Signal
from standing_ingest import Ingest

# One service for all tests: starting it takes longer than any of them.
pytestmark = pytest.mark.asyncio(loop_scope="session")


def asking(audio: str, **fields: Any) -> loudness_pb2.MeasureLoudnessRequest:
    """A request to measure, under a new UUID."""
    return loudness_pb2.MeasureLoudnessRequest(audio=audio, request_id=str(uuid.uuid4()), **fields)


def unpacked(operation: Any) -> loudness_pb2.MeasureLoudnessResponse:
    """The response of a finished operation."""
    answer = loudness_pb2.MeasureLoudnessResponse()
    assert operation.response.Unpack(answer), operation.error
    return answer


async def refused(call: Any) -> tuple[str, error_details_pb2.ErrorInfo]:
    """The code and `ErrorInfo` with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers: Any = caught.value.trailing_metadata()
    status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return caught.value.code().name, info


async def test_a_tone_is_measured(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """A stored tone of -23 dBFS comes back as -23.0 LUFS, with what made the answer."""
    audio = ingest.put(signals.sine(-23, 5, rate_hz=48000), 48000)
    done, stages = await ended(channel, await mastering.MeasureLoudness(asking(audio.name)))
    assert [s for s in stages if s in ("reading", "measuring")] == ["reading", "measuring"]
    answer = unpacked(done)
    measured = answer.loudness
    assert measured.integrated_lufs == pytest.approx(-23.0, abs=0.05)
    assert measured.max_momentary_lufs == pytest.approx(-23.0, abs=0.05)
    assert measured.max_short_term_lufs == pytest.approx(-23.0, abs=0.05)
    assert measured.true_peak_dbtp == pytest.approx(-23.0, abs=0.1)
    assert measured.sample_peak_dbfs == pytest.approx(-23.0, abs=0.01)
    assert measured.peak_to_loudness_lu == pytest.approx(0.0, abs=0.2)
    assert measured.stereo_correlation == pytest.approx(1.0)
    assert len(measured.spectrum_db) == 31
    assert int(np.argmax(measured.spectrum_db)) == 17  # the third octave around 1 kHz
    assert not measured.gated_out
    assert (measured.sample_rate_hz, measured.channel_count) == (48000, 2)
    assert answer.audio == audio.name
    assert (answer.span.start_frame, answer.span.frame_count) == (0, audio.frame_count)
    made_by = answer.provenance
    assert (made_by.engine_requested, made_by.engine_used) == ("auto", "chorale")
    assert made_by.processing_time.ToTimedelta().total_seconds() > 0.0


async def test_integers_and_floats_read_alike(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """16-bit and float PCM of the same sound have the same loudness."""
    sound = signals.pink_noise(4, seed=5)
    found = []
    for subtype in ("PCM_16", "FLOAT"):
        audio = ingest.put(sound, subtype=subtype)
        done, _ = await ended(channel, await mastering.MeasureLoudness(asking(audio.name)))
        found.append(unpacked(done).loudness)
    assert found[0].integrated_lufs == pytest.approx(found[1].integrated_lufs, abs=1e-3)
    assert found[0].true_peak_dbtp == pytest.approx(found[1].true_peak_dbtp, abs=1e-2)


async def test_silence_is_gated_out(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """Silence is an answer: the gate's -70 LUFS, `gated_out`, and never NaN."""
    audio = ingest.put(signals.silence(3))
    done, _ = await ended(channel, await mastering.MeasureLoudness(asking(audio.name)))
    measured = unpacked(done).loudness
    assert measured.gated_out
    assert (measured.integrated_lufs, measured.max_momentary_lufs) == (-70.0, -70.0)
    assert measured.loudness_range_lu == 0.0
    assert measured.true_peak_dbtp <= -150.0
    for _, value in measured.ListFields():
        assert np.isfinite(np.asarray(value, float)).all()


async def test_a_span_is_measured_alone(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """Only the frames of the span count; one that reaches past the end is cut there."""
    sound = signals.steps([(-40, 3), (-20, 3)])
    audio = ingest.put(sound)
    for start, count, expected, frames in (
        (0, 3 * 44100, -40.0, 3 * 44100),
        (3 * 44100, 0, -20.0, 3 * 44100),
        (5 * 44100, 10 * 44100, -20.0, 44100),
    ):
        span = audio_pb2.FrameSpan(start_frame=start, frame_count=count)
        request = asking(audio.name, span=span)
        done, _ = await ended(channel, await mastering.MeasureLoudness(request))
        answer = unpacked(done)
        assert answer.loudness.integrated_lufs == pytest.approx(expected, abs=0.1)
        assert (answer.span.start_frame, answer.loudness.frame_count) == (start, frames)


async def test_a_curve_is_drawn(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """A curve has at most the points asked for, evenly spaced, and follows the level."""
    audio = ingest.put(signals.steps([(-40, 4), (-20, 4)]))
    request = asking(audio.name, curve_points=30)
    done, _ = await ended(channel, await mastering.MeasureLoudness(request))
    curve = unpacked(done).curve
    assert 20 < len(curve.momentary_lufs) <= 30
    assert len(curve.true_peak_dbtp) == len(curve.short_term_lufs) == len(curve.momentary_lufs)
    half = len(curve.momentary_lufs) // 2
    assert np.allclose(curve.momentary_lufs[3 : half - 2], -40.0, atol=0.1)
    assert np.allclose(curve.momentary_lufs[half + 3 :], -20.0, atol=0.1)
    assert curve.hop_frames * (len(curve.momentary_lufs) - 1) < audio.frame_count


async def test_dual_mono_counts_twice(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """One channel that plays on two loudspeakers is 3.01 LU louder; other layouts are refused."""
    audio = ingest.put(signals.sine(-20, 2, 1))
    found = []
    for layout in (loudness_pb2.CHANNEL_LAYOUT_MONO, loudness_pb2.CHANNEL_LAYOUT_DUAL_MONO):
        request = asking(audio.name, channel_layout=layout)
        done, _ = await ended(channel, await mastering.MeasureLoudness(request))
        found.append(unpacked(done).loudness.integrated_lufs)
    assert found[1] - found[0] == pytest.approx(3.0103, abs=1e-3)
    request = asking(audio.name, channel_layout=loudness_pb2.CHANNEL_LAYOUT_SURROUND_5_1)
    code, info = await refused(mastering.MeasureLoudness(request))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "SETTING_UNSUPPORTED")
    assert info.metadata["channelCount"] == "1"


async def test_an_answer_is_kept(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """Asking again is answered from what is kept, and its estimate says so."""
    audio = ingest.put(signals.pink_noise(3, seed=8))
    estimate = unpacked(await mastering.MeasureLoudness(asking(audio.name, validate_only=True)))
    assert not estimate.estimate.cached
    assert 0.0 < estimate.estimate.seconds < 1.0
    answers = []
    for engine in ("", "chorale"):
        request = asking(audio.name, engine=engine)
        done, _ = await ended(channel, await mastering.MeasureLoudness(request))
        answers.append(unpacked(done))
    assert [a.provenance.from_cache for a in answers] == [False, True]
    assert [a.provenance.engine_requested for a in answers] == ["auto", "chorale"]
    assert answers[0].loudness == answers[1].loudness
    estimate = unpacked(await mastering.MeasureLoudness(asking(audio.name, validate_only=True)))
    assert estimate.estimate.cached
    assert not estimate.HasField("loudness")


async def test_what_cannot_be_measured_is_refused(mastering: Any, ingest: Ingest) -> None:
    """Unknown audio, too little of it, spans past its end and unknown engines, before any work."""
    short = ingest.put(signals.sine(-20, 0.3))
    code, info = await refused(mastering.MeasureLoudness(asking(short.name)))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "AUDIO_TOO_SHORT")
    assert info.metadata["minimumFrameCount"] == "17640"
    code, info = await refused(mastering.MeasureLoudness(asking("audio/" + "0" * 64)))
    assert (code, info.reason) == ("NOT_FOUND", "AUDIO_NOT_FOUND")
    span = audio_pb2.FrameSpan(start_frame=short.frame_count)
    code, info = await refused(mastering.MeasureLoudness(asking(short.name, span=span)))
    assert (code, info.reason) == ("OUT_OF_RANGE", "SPAN_PAST_END")
    code, info = await refused(mastering.MeasureLoudness(asking(short.name, engine="ebur128")))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "ENGINE_UNKNOWN")
    assert info.metadata["known"] == "chorale"


async def test_a_request_id_means_one_request(mastering: Any, ingest: Ingest) -> None:
    """Repeating a request returns its operation; another under its id is REQUEST_ID_REUSED."""
    audio = ingest.put(signals.sine(-21, 1))
    request = asking(audio.name)
    first, again = await asyncio.gather(
        mastering.MeasureLoudness(request), mastering.MeasureLoudness(request)
    )
    assert first.name == again.name
    request.curve_points = 10
    code, info = await refused(mastering.MeasureLoudness(request))
    assert (code, info.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_engines_are_listed(mastering: Any) -> None:
    """The meter is listed as what works; a foreign page token is PAGE_TOKEN_INVALID."""
    listed = await mastering.ListEngines(mastering_service_pb2.ListEnginesRequest())
    by_name = {(e.capability, e.name): e for e in listed.engines}
    assert by_name["loudness", "chorale"].available
    assert by_name["loudness", "chorale"].is_default
    request = mastering_service_pb2.ListEnginesRequest(page_token="bm9uc2Vuc2U=")
    code, info = await refused(mastering.ListEngines(request))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def stream(
    config: loudness_pb2.MeterConfig | None, parts: Sequence[bytes]
) -> AsyncIterator[loudness_pb2.MeterStreamRequest]:
    """The requests of a live meter."""
    if config is not None:
        yield loudness_pb2.MeterStreamRequest(config=config)
    for part in parts:
        yield loudness_pb2.MeterStreamRequest(frames=part)


def metering(sound: Signal, **fields: Any) -> loudness_pb2.MeterConfig:
    """What a live meter is told of this sound."""
    pcm = audio_pb2.PcmFormat(sample_rate_hz=signals.RATE_HZ, channel_count=sound.shape[1])
    return loudness_pb2.MeterConfig(format=pcm, **fields)


def parts(sound: Signal, frames: int) -> list[bytes]:
    """The bytes of a sound in messages of so many frames."""
    return [sound[at : at + frames].tobytes() for at in range(0, len(sound), frames)]


async def test_a_live_meter_ends_at_what_measuring_gives(
    channel: Any, mastering: Any, ingest: Ingest
) -> None:
    """The last answer of a stream, in odd pieces, equals MeasureLoudness of the same frames."""
    sound = signals.pink_noise(4, seed=3)
    audio = ingest.put(sound)
    done, _ = await ended(channel, await mastering.MeasureLoudness(asking(audio.name)))
    answers = [
        answer
        async for answer in mastering.MeterStream(stream(metering(sound), parts(sound, 8191)))
    ]
    assert answers[-1].is_final
    assert answers[-1].loudness == unpacked(done).loudness
    assert [answer.revision for answer in answers] == list(range(1, len(answers) + 1))
    assert [a.span.frame_count for a in answers[:-1]] == list(range(4410, 4 * 44100 + 1, 4410))
    assert answers[0].HasField("provenance")
    assert answers[-1].HasField("provenance")
    assert answers[20].momentary_lufs == pytest.approx(answers[20].loudness.integrated_lufs, abs=2)


@pytest.mark.parametrize(
    ("config", "messages", "code", "reason"),
    [
        (None, [b""], "INVALID_ARGUMENT", "STREAM_OUT_OF_ORDER"),
        ({}, [b"123"], "INVALID_ARGUMENT", "FRAMES_INVALID"),
        (
            {},
            [np.full((100, 2), np.nan, np.float32).tobytes()],
            "INVALID_ARGUMENT",
            "FRAMES_INVALID",
        ),
        ({"engine": "nonesuch"}, [], "INVALID_ARGUMENT", "ENGINE_UNKNOWN"),
        ({}, [bytes(80 * 4410)] * 11, "FAILED_PRECONDITION", "AUDIO_TOO_LONG"),
    ],
)
async def test_a_live_meter_refuses(
    mastering: Any, config: dict[str, Any] | None, messages: list[bytes], code: str, reason: str
) -> None:
    """Streams out of order, torn frames, NaN, unknown engines, and more than 10 s as set here."""
    sound = signals.silence(0.1)
    first = None if config is None else metering(sound, **config)
    call = mastering.MeterStream(stream(first, messages))
    found_code, info = await refused(anext_of(call))
    assert (found_code, info.reason) == (code, reason)


async def anext_of(call: Any) -> None:
    """Reads a stream to its end."""
    async for _ in call:
        pass


async def test_live_meters_are_bounded(mastering: Any) -> None:
    """One more live meter than the setting allows is QUEUE_FULL, until one ends."""
    sound = signals.silence(0.2)
    go = asyncio.Event()

    async def held() -> AsyncIterator[loudness_pb2.MeterStreamRequest]:
        yield loudness_pb2.MeterStreamRequest(config=metering(sound))
        yield loudness_pb2.MeterStreamRequest(frames=sound.tobytes())
        await go.wait()

    first = aiter(mastering.MeterStream(held()))
    await anext(first)  # it runs
    code, info = await refused(anext_of(mastering.MeterStream(stream(metering(sound), []))))
    assert (code, info.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    go.set()
    await anext_of(first)
    await anext_of(mastering.MeterStream(stream(metering(sound), [])))


async def test_cancelling_stops_measuring(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """A cancelled operation ends as OPERATION_CANCELLED and the next one is measured."""
    audio = ingest.put(signals.sine(-30, 40, 2))
    operation = await mastering.MeasureLoudness(asking(audio.name, curve_points=20000))
    stub = operations_pb2_grpc.OperationsStub(channel)
    await stub.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    done, _ = await ended(channel, operation)
    assert done.error.code == grpc.StatusCode.CANCELLED.value[0]
    done, _ = await ended(channel, await mastering.MeasureLoudness(asking(audio.name)))
    assert unpacked(done).loudness.integrated_lufs == pytest.approx(-30.0, abs=0.1)
