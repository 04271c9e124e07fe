"""References, matches, albums and inspections over the wire."""

import uuid
from typing import Any

import grpc
import numpy as np
import pytest
import signals
from chorale.ingest.v1 import audio_pb2
from chorale.mastering.v1 import (
    master_pb2,
    matching_pb2,
    outputs_pb2,
    presets_pb2,
    report_pb2,
    settings_pb2,
)
from google.rpc import error_details_pb2, status_pb2
from operation_calls import ended, finished
from signals import Signal
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")


def dull(seconds: float, level: float, seed: int) -> Signal:
    """Noise with less and less above 1 kHz."""
    noise = signals.pink_noise(seconds, seed=seed).astype(np.float64)
    spectrum = np.fft.rfft(noise, axis=0)
    hertz = np.fft.rfftfreq(len(noise), 1 / signals.RATE_HZ)[:, None]
    soft = np.fft.irfft(spectrum / (1.0 + hertz / 1000.0), len(noise), axis=0)
    sound: Signal = (level * soft / np.abs(soft).max()).astype(np.float32)
    return sound


async def test_a_master_follows_a_kept_reference(
    channel: Any, mastering: Any, ingest: Ingest, noise: audio_pb2.Audio
) -> None:
    """Tone and loudness move towards a reference that was kept, whose sound is not needed."""
    theirs = ingest.put(dull(11, 0.5, seed=1))
    create = presets_pb2.CreateReferenceRequest(
        audio=theirs.name, request_id=str(uuid.uuid4()), genre="folk"
    )
    made = await finished(
        channel, await mastering.CreateReference(create), presets_pb2.CreateReferenceResponse()
    )
    reference = made.reference
    assert (reference.title, reference.genre) == ("signal.wav", "folk")
    listed = await mastering.ListReferences(presets_pb2.ListReferencesRequest(genre="folk"))
    assert [each.name for each in listed.references] == [reference.name]
    request = matching_pb2.MatchReferenceRequest(
        audio=noise.name, reference=reference.name, request_id=str(uuid.uuid4())
    )
    answer = await finished(
        channel, await mastering.MatchReference(request), matching_pb2.MatchReferenceResponse()
    )
    report = answer.masters[0].report
    wanted = reference.loudness.integrated_lufs
    assert report.after.integrated_lufs == pytest.approx(wanted, abs=0.1)
    theirs_db = np.array(answer.reference.spectrum_db)
    before = np.abs(np.array(report.before.spectrum_db) - theirs_db)[5:28].mean()
    after = np.abs(np.array(answer.spectrum_difference_db))[5:28].mean()
    assert after < before / 2
    await mastering.DeleteReference(presets_pb2.DeleteReferenceRequest(name=reference.name))
    get = presets_pb2.GetReferenceRequest(name=reference.name)
    assert await refused(mastering.GetReference(get)) == ("NOT_FOUND", "REFERENCE_NOT_FOUND")


async def refused(call: Any) -> tuple[str, str]:
    """The code and the reason with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers: Any = caught.value.trailing_metadata()
    status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return caught.value.code().name, info.reason


async def test_an_unsuitable_reference_is_told(
    channel: Any, mastering: Any, ingest: Ingest, noise: audio_pb2.Audio
) -> None:
    """A reference that is loud, short and clipped is followed, with a typed warning for each."""
    loud = ingest.put(np.clip(signals.pink_noise(3, seed=3) * 40, -1, 1).astype(np.float32))
    request = matching_pb2.MatchReferenceRequest(
        audio=noise.name, reference_audio=loud.name, request_id=str(uuid.uuid4())
    )
    answer = await finished(
        channel, await mastering.MatchReference(request), matching_pb2.MatchReferenceResponse()
    )
    assert {warning.code for warning in answer.reference_warnings} == {
        report_pb2.MASTER_WARNING_CODE_REFERENCE_LOUD,
        report_pb2.MASTER_WARNING_CODE_REFERENCE_UNLIKE,
        report_pb2.MASTER_WARNING_CODE_INPUT_CLIPPED,
    }
    request.match.spectrum_domain = matching_pb2.SPECTRUM_DOMAIN_TIME
    request.request_id = str(uuid.uuid4())
    assert await refused(mastering.MatchReference(request)) == (
        "INVALID_ARGUMENT",
        "SETTING_UNSUPPORTED",
    )


async def test_silence_is_no_reference(
    channel: Any, mastering: Any, ingest: Ingest, noise: audio_pb2.Audio
) -> None:
    """Nothing can be learned from silence: keeping it, and following it, is refused by name."""
    silent = ingest.put(signals.silence(2))
    create = presets_pb2.CreateReferenceRequest(audio=silent.name, request_id=str(uuid.uuid4()))
    follow = matching_pb2.MatchReferenceRequest(
        audio=noise.name, reference_audio=silent.name, request_id=str(uuid.uuid4())
    )
    for started in (mastering.CreateReference(create), mastering.MatchReference(follow)):
        info = await failed(channel, await started)
        assert (info.reason, info.metadata["reason"]) == ("REFERENCE_UNSUITABLE", "silent")


async def failed(channel: grpc.aio.Channel, operation: Any) -> error_details_pb2.ErrorInfo:
    """Waits for an operation and reads why it failed."""
    done, _ = await ended(channel, operation)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in done.error.details)
    return info


async def test_an_album_keeps_its_relations(channel: Any, mastering: Any, ingest: Ingest) -> None:
    """The album as a whole reaches the target, and its quiet track stays as much quieter."""
    tracks = [
        ingest.put(signals.pink_noise(2, seed=k) * np.float32(g)) for k, g in ((5, 0.4), (6, 0.2))
    ]
    request = master_pb2.MasterAlbumRequest(
        tracks=[track.name for track in tracks],
        request_id=str(uuid.uuid4()),
        settings=settings_pb2.MasteringSettings(target_loudness_lufs=-16.0),
        output=outputs_pb2.MasterOutput(encoding=outputs_pb2.MASTER_ENCODING_FLAC),
    )
    answer = await finished(
        channel, await mastering.MasterAlbum(request), master_pb2.MasterAlbumResponse()
    )
    assert answer.album.integrated_lufs == pytest.approx(-16.0, abs=0.1)
    loud, quiet = (made.report for made in answer.masters)
    apart = loud.after.integrated_lufs - quiet.after.integrated_lufs
    assert apart == pytest.approx(
        loud.before.integrated_lufs - quiet.before.integrated_lufs, abs=0.1
    )
    assert all(made.file_name == "signal_mastered.flac" for made in answer.masters)
    assert answer.track_gain_db[0] == pytest.approx(answer.track_gain_db[1], abs=0.1)


async def test_an_inspection_tells_what_was_done(
    channel: Any, mastering: Any, ingest: Ingest
) -> None:
    """Loudness, spectrum, compression, suitability and the genre's usual loudness are told."""
    audio = ingest.put(dull(3, 0.9, seed=7))
    request = master_pb2.InspectRequest(
        audio=audio.name, request_id=str(uuid.uuid4()), genre="classical", curve_points=20
    )
    answer = await finished(channel, await mastering.Inspect(request), master_pb2.InspectResponse())
    assert answer.duration_seconds == pytest.approx(3.0)
    assert answer.spectral_centroid_hz < answer.spectral_rolloff_hz < 2000.0
    assert answer.crest_factor_db == pytest.approx(
        answer.loudness.sample_peak_dbfs - answer.rms_dbfs, abs=0.01
    )
    assert answer.compression_level != report_pb2.COMPRESSION_LEVEL_UNSPECIFIED
    assert len(answer.curve.momentary_lufs) > 5
    assert report_pb2.MASTER_WARNING_CODE_GENRE_LOUDNESS in {w.code for w in answer.warnings}
    assert report_pb2.MASTER_WARNING_CODE_REFERENCE_UNLIKE in {
        warning.code for warning in answer.reference_warnings
    }
