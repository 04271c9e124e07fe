"""Masters over the wire, beside a real ingest, PostgreSQL and S3."""

import io
import time
import urllib.request
import uuid
from typing import Any

import grpc
import numpy as np
import pytest
import signals
import soundfile
from chorale.audio.v1 import audio_pb2
from chorale.ingest.v1 import audio_pb2 as catalogue_pb2
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale.mastering.v1 import (
    loudness_pb2,
    master_pb2,
    outputs_pb2,
    presets_pb2,
    report_pb2,
    settings_pb2,
)
from chorale.operations.v1 import operations_service_pb2, operations_service_pb2_grpc
from chorale_mastering.meter import Meter
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from operation_calls import WAIT_SECONDS, ended, finished
from standing_ingest import Ingest

# One service for all tests: starting it takes longer than any of them.
pytestmark = pytest.mark.asyncio(loop_scope="session")

RATE_HZ = 44100


def asking(audio: str, **fields: Any) -> master_pb2.MasterRequest:
    """A request to master, under a new UUID."""
    return master_pb2.MasterRequest(audio=audio, request_id=str(uuid.uuid4()), **fields)


async def mastered(channel: Any, mastering: Any, request: Any) -> master_pb2.MasterResponse:
    """Masters to the end."""
    operation = await mastering.Master(request)
    answer: master_pb2.MasterResponse = await finished(
        channel, operation, master_pb2.MasterResponse()
    )
    return answer


def fetched(url: str) -> tuple[Any, int, bytes, str]:
    """What is behind a signed URL: frames, their rate, the bytes, and the name to save under."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        data, disposition = answer.read(), answer.headers["content-disposition"]
    frames, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return frames, rate_hz, data, disposition


def heard(frames: Any, rate_hz: int = RATE_HZ) -> Any:
    """By our own meter."""
    meter = Meter(rate_hz, frames.shape[1])
    meter.push(frames)
    meter.finish()
    return meter.read()


def stored(ingest: Ingest, name: str) -> catalogue_pb2.Audio:
    """What ingest knows of audio."""
    with grpc.insecure_channel(ingest.address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        request = catalogue_pb2.GetAudioRequest(name=name)
        audio: catalogue_pb2.Audio = stub.GetAudio(request, timeout=10).audio
    return audio


async def test_a_master_is_named_audio_at_its_target(
    channel: Any, mastering: Any, ingest: Ingest, noise: catalogue_pb2.Audio
) -> None:
    """The file lands on the target, is its owner's audio with its parent, and says why."""
    request = asking(noise.name, curve_points=50)
    done, stages = await ended(channel, await mastering.Master(request))
    answer = master_pb2.MasterResponse()
    assert done.response.Unpack(answer), done.error
    assert {"measuring", "loudness", "writing", "storing"} <= set(stages)
    (made,) = answer.masters
    assert (made.label, made.file_name) == ("master", "signal_mastered.wav")
    frames, rate_hz, data, disposition = fetched(made.url)
    assert "signal_mastered.wav" in disposition
    assert made.url_expire_time.seconds - time.time() == pytest.approx(86_400, abs=120)
    assert (len(data), rate_hz, len(frames)) == (made.size_bytes, RATE_HZ, noise.frame_count)
    loudness = heard(frames)
    assert loudness.integrated_lufs == pytest.approx(-14.0, abs=0.1)
    assert loudness.true_peak_dbtp <= -1.0
    assert made.report.after.integrated_lufs == pytest.approx(loudness.integrated_lufs, abs=1e-6)
    known = stored(ingest, made.audio)
    assert list(known.parents) == [noise.name]
    assert known.provenance.engine_used == "chorale"
    assert known.file_name == "signal_mastered.wav"
    assert [step.stage for step in made.report.steps] == list(range(1, 14))
    assert all(step.action and step.reason for step in made.report.steps)
    assert len(made.report.curve_after.momentary_lufs) > 10
    assert len(made.report.before.spectrum_db) == 31
    assert 80.0 < made.report.quality_score <= 100.0


async def test_outputs_differ_as_asked(
    channel: Any, mastering: Any, ingest: Ingest, noise: catalogue_pb2.Audio
) -> None:
    """Every output has its own settings, kind and name; all share the preset and the call."""
    request = asking(
        noise.name,
        preset="presets/podcast",
        settings=settings_pb2.MasteringSettings(stereo_width_percent=50.0),
        outputs=[
            outputs_pb2.MasterOutput(
                label="cd",
                encoding=outputs_pb2.MASTER_ENCODING_WAV16,
                overrides=settings_pb2.MasteringSettings(target_loudness_lufs=-20.0),
            ),
            outputs_pb2.MasterOutput(
                label="web",
                encoding=outputs_pb2.MASTER_ENCODING_MP3_320,
                sample_rate_hz=48000,
                file_name="web.mp3",
            ),
        ],
        compare=True,
    )
    answer = await mastered(channel, mastering, request)
    preset = (await mastering.GetPreset(presets_pb2.GetPresetRequest(name=request.preset))).preset
    disc, web = answer.masters
    assert (disc.label, disc.file_name) == ("cd", "signal_mastered.wav")
    assert (web.label, web.file_name) == ("web", "web.mp3")
    assert disc.report.settings.stereo_width_percent == 50.0
    assert disc.report.settings.target_loudness_lufs == -20.0
    wanted = preset.settings.target_loudness_lufs
    assert web.report.settings.target_loudness_lufs == wanted
    assert stored(ingest, disc.audio).codec == "pcm_s16le"
    assert stored(ingest, web.audio).codec.startswith("mp3")
    frames, rate_hz, _, _ = fetched(web.url)
    assert rate_hz == 48000
    after, ceiling = heard(frames, rate_hz), web.report.settings.limiter.ceiling_dbtp
    assert after.integrated_lufs == pytest.approx(wanted, abs=0.1)
    assert after.true_peak_dbtp <= ceiling + 0.05  # another decoder than ours
    matched = stored(ingest, disc.matched_input)
    assert list(matched.parents) == [noise.name]
    measured = await mastered_loudness(channel, mastering, disc.matched_input)
    assert measured == pytest.approx(disc.report.after.integrated_lufs, abs=0.02)


async def mastered_loudness(channel: Any, mastering: Any, audio: str) -> float:
    """What the service itself measures of stored audio."""
    request = loudness_pb2.MeasureLoudnessRequest(audio=audio, request_id=str(uuid.uuid4()))
    done, _ = await ended(channel, await mastering.MeasureLoudness(request))
    answer = loudness_pb2.MeasureLoudnessResponse()
    assert done.response.Unpack(answer), done.error
    return float(answer.loudness.integrated_lufs)


async def test_a_preview_is_a_part_of_its_master(
    channel: Any, mastering: Any, ingest: Ingest
) -> None:
    """The frames of a preview are those that the whole master has there."""
    audio = ingest.put(
        signals.steps([(-30, 2), (-18, 2)]) + signals.pink_noise(4, seed=5) * np.float32(0.02)
    )
    encoding = [outputs_pb2.MasterOutput(encoding=outputs_pb2.MASTER_ENCODING_WAV32F)]
    span = audio_pb2.FrameSpan(start_frame=60_000, frame_count=50_000)
    whole = await mastered(channel, mastering, asking(audio.name, outputs=encoding))
    part = await mastered(
        channel, mastering, asking(audio.name, outputs=encoding, preview_span=span)
    )
    frames, preview = fetched(whole.masters[0].url)[0], fetched(part.masters[0].url)[0]
    assert len(preview) == 50_000
    np.testing.assert_allclose(preview, frames[60_000:110_000], atol=1e-6)


async def test_cancelling_ends_it_within_a_second(
    channel: Any, mastering: Any, ingest: Ingest
) -> None:
    """A master that is cancelled while it works is over soon and leaves no audio."""
    audio = ingest.put(
        np.tile(signals.pink_noise(10, 6, 1), (10, 1)) * np.float32(0.3), subtype="PCM_16"
    )
    operation = await mastering.Master(asking(audio.name))
    stub = operations_service_pb2_grpc.OperationsServiceStub(channel)
    request = operations_service_pb2.WatchOperationRequest(name=operation.name)
    asked_at = 0.0
    async for update in stub.WatchOperation(request, timeout=WAIT_SECONDS):
        if update.HasField("operation"):
            done = update.operation
            break
        if not asked_at and update.event.fraction > 0.0:
            asked_at = time.monotonic()
            cancel = operations_pb2.CancelOperationRequest(name=operation.name)
            await operations_pb2_grpc.OperationsStub(channel).CancelOperation(cancel)
    assert done.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert time.monotonic() - asked_at < 3.0  # a second, on a machine that does nothing else


async def test_validating_tells_the_cost_and_keeps_nothing(
    mastering: Any, noise: catalogue_pb2.Audio
) -> None:
    """`validate_only` is done at once, with seconds and bytes; by length alone it is the same."""
    operation = await mastering.Master(asking(noise.name, validate_only=True))
    answer = master_pb2.MasterResponse()
    assert operation.done
    assert operation.response.Unpack(answer)
    assert not answer.masters
    assert answer.estimate.output_bytes == noise.frame_count * 2 * 3
    request = master_pb2.EstimateMasteringRequest(duration_seconds=2.0)
    told = (await mastering.EstimateMastering(request)).estimate
    assert told.seconds == pytest.approx(answer.estimate.seconds)
    request.output_count = 5
    assert (await mastering.EstimateMastering(request)).estimate.seconds > told.seconds


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"preset": "presets/absent"}, "NOT_FOUND", "PRESET_NOT_FOUND"),
        (
            {"preview_span": audio_pb2.FrameSpan(start_frame=1 << 30)},
            "OUT_OF_RANGE",
            "SPAN_PAST_END",
        ),
        (
            {
                "outputs": [
                    outputs_pb2.MasterOutput(
                        encoding=outputs_pb2.MASTER_ENCODING_MP3_V0, sample_rate_hz=96000
                    )
                ]
            },
            "INVALID_ARGUMENT",
            "SETTING_UNSUPPORTED",
        ),
        ({"engine": "absent"}, "INVALID_ARGUMENT", "ENGINE_UNKNOWN"),
    ],
)
async def test_what_cannot_be_made_is_refused_at_once(
    mastering: Any, noise: catalogue_pb2.Audio, fields: Any, code: str, reason: str
) -> None:
    """Wrong requests start no operation, and say what is wrong with a typed reason."""
    assert await refused(mastering.Master(asking(noise.name, **fields))) == (code, reason)


async def refused(call: Any) -> tuple[str, str]:
    """The code and the reason with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers: Any = caught.value.trailing_metadata()
    status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return caught.value.code().name, info.reason


async def test_warnings_are_typed(channel: Any, mastering: Any, noise: catalogue_pb2.Audio) -> None:
    """A target that the ceiling forbids is told with what was reached instead."""
    quiet = settings_pb2.MasteringSettings(
        target_loudness_lufs=-5.0,
        limiter=settings_pb2.LimiterSettings(
            mode=settings_pb2.LIMITER_MODE_NONE, ceiling_dbtp=-6.0
        ),
    )
    (made,) = (await mastered(channel, mastering, asking(noise.name, settings=quiet))).masters
    codes = {warning.code: warning for warning in made.report.warnings}
    told = codes[report_pb2.MASTER_WARNING_CODE_TARGET_UNREACHABLE]
    assert told.found == pytest.approx(made.report.after.integrated_lufs, abs=0.1)
    assert told.wanted == -5.0
    assert made.report.recommendations


async def test_own_presets_are_kept_apart_by_owner(mastering: Any) -> None:
    """Presets can be made, found, changed and deleted; nobody else sees them."""
    preset = presets_pb2.Preset(
        title="Mine", settings=settings_pb2.MasteringSettings(target_loudness_lufs=-9.0)
    )
    create = presets_pb2.CreatePresetRequest(preset_id="mine", preset=preset)
    made = (await mastering.CreatePreset(create)).preset
    assert (made.name, made.kind) == ("presets/mine", presets_pb2.PRESET_KIND_OWN)
    assert (await mastering.CreatePreset(create)).preset == made
    create.preset.title = "Other"
    assert await refused(mastering.CreatePreset(create)) == ("ALREADY_EXISTS", "PRESET_EXISTS")
    update = presets_pb2.UpdatePresetRequest(preset=presets_pb2.Preset(name=made.name, title="T"))
    update.update_mask.paths.append("title")
    changed = (await mastering.UpdatePreset(update)).preset
    assert (changed.title, changed.settings) == ("T", made.settings)
    listed = (await mastering.ListPresets(presets_pb2.ListPresetsRequest(page_size=100))).presets
    assert changed in listed
    assert [each.name for each in listed] == sorted(each.name for each in listed)
    genres = presets_pb2.ListPresetsRequest(kind=presets_pb2.PRESET_KIND_GENRE, page_size=100)
    assert len((await mastering.ListPresets(genres)).presets) >= 20
    get = presets_pb2.GetPresetRequest(name=made.name)
    other = (("chorale-on-behalf-of", "somebody"),)
    assert await refused(mastering.GetPreset(get, metadata=other)) == (
        "NOT_FOUND",
        "PRESET_NOT_FOUND",
    )
    await mastering.DeletePreset(presets_pb2.DeletePresetRequest(name=made.name))
    assert await refused(mastering.GetPreset(get)) == ("NOT_FOUND", "PRESET_NOT_FOUND")
    built_in = presets_pb2.DeletePresetRequest(name="presets/jazz")
    assert await refused(mastering.DeletePreset(built_in)) == (
        "FAILED_PRECONDITION",
        "PRESET_BUILT_IN",
    )


async def test_presets_are_counted(mastering: Any) -> None:
    """An owner may keep so many; what is there already may be created again."""
    theirs = (("chorale-on-behalf-of", "collector"),)
    for name in ("a", "b", "a"):
        create = presets_pb2.CreatePresetRequest(preset_id=name, preset=presets_pb2.Preset())
        await mastering.CreatePreset(create, metadata=theirs)
    create.preset_id = "c"
    refusal = await refused(mastering.CreatePreset(create, metadata=theirs))
    assert refusal == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    create.preset_id = "jazz"
    refusal = await refused(mastering.CreatePreset(create, metadata=theirs))
    assert refusal == ("ALREADY_EXISTS", "PRESET_EXISTS")


async def test_masters_belong_to_who_asked(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """Audio of one owner cannot be mastered for another, and a master is its owner's alone."""
    audio = ingest.put(signals.pink_noise(1, seed=11) * np.float32(0.3))
    theirs = (("chorale-on-behalf-of", "somebody"),)
    refusal = await refused(mastering.Master(asking(audio.name), metadata=theirs))
    assert refusal == ("NOT_FOUND", "AUDIO_NOT_FOUND")
    (made,) = (await mastered(channel, mastering, asking(audio.name))).masters
    with grpc.insecure_channel(ingest.address) as to_ingest:
        stub = ingest_service_pb2_grpc.IngestServiceStub(to_ingest)
        request = catalogue_pb2.GetAudioRequest(name=made.audio)
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            stub.GetAudio(request, metadata=theirs, timeout=10)
        gone = stub.DeleteAudio(catalogue_pb2.DeleteAudioRequest(name=audio.name), timeout=10)
    assert set(gone.deleted) == {audio.name, made.audio}


async def test_a_stream_is_mastered_as_it_comes(mastering: Any) -> None:
    """As many frames come back as went in, under the ceiling, whatever the sizes of messages."""
    sound = signals.pink_noise(2, seed=10).astype(np.float32)
    config = master_pb2.MasterStreamConfig(
        format=audio_pb2.PcmFormat(sample_rate_hz=RATE_HZ, channel_count=2),
        settings=settings_pb2.MasteringSettings(target_loudness_lufs=-16.0),
    )
    results = []
    for size in (4410, 30_001):

        async def requests(size: int = size) -> Any:
            yield master_pb2.MasterStreamRequest(config=config)
            for start in range(0, len(sound), size):
                yield master_pb2.MasterStreamRequest(frames=sound[start : start + size].tobytes())

        answers = [answer async for answer in mastering.MasterStream(requests())]
        assert answers[0].latency_frames > 0
        assert answers[0].provenance.engine_used == "chorale"
        assert [answer.revision for answer in answers] == list(range(1, len(answers) + 1))
        assert [answer.is_final for answer in answers] == [False] * (len(answers) - 1) + [True]
        position = 0
        for answer in answers:
            assert answer.span.start_frame == position
            position += answer.span.frame_count
        out = np.frombuffer(b"".join(answer.frames for answer in answers), "<f4").reshape(-1, 2)
        assert len(out) == position == len(sound)
        measured = answers[-1].loudness
        assert measured.true_peak_dbtp <= -1.0
        assert measured.integrated_lufs == pytest.approx(heard(out).integrated_lufs, abs=1e-6)
        results.append(out)
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
