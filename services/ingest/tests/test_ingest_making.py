"""What is made of audio: registered sound, cuts, previews, other encodings, imports."""

import asyncio
import hashlib
import io
import urllib.request
import uuid
from typing import Any

import av
import grpc
import numpy as np
import pytest
import soundfile
from chorale.audio.v1 import audio_pb2 as format_pb2
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import audio_pb2, reading_pb2, upload_pb2
from chorale_ingest.settings import Settings
from google.longrunning import operations_pb2, operations_pb2_grpc
from ingest_testing import Ingest, bucket_of, encoded, keys, noise, refusal, sha256

RATE = 44100


def fetched(url: str) -> tuple[bytes, Any]:
    """What a browser gets."""
    with urllib.request.urlopen(url) as answer:
        return answer.read(), answer.headers


async def drained(call: Any) -> tuple[str, bytes]:
    """Content type and bytes of a streamed file."""
    parts = [part async for part in call]
    return parts[0].content_type, b"".join(part.data for part in parts)


def tone(seconds: float, rate: int = RATE, level: float = 0.25) -> Any:
    """A stereo tone of floats that no 16 bits hold."""
    time = np.arange(int(seconds * rate)) / rate
    wave = level * np.sin(2 * np.pi * 440 * time)
    return np.stack([wave, 0.5 * wave], axis=1).astype("<f4")


async def made(ingest: Ingest, settings: Settings, samples: Any, **fields: Any) -> audio_pb2.Audio:
    """Sound that a service made for this caller."""
    data = samples.tobytes()
    bucket_of(settings).put_object(
        bucket_name=settings.objects_bucket,
        object_name=f"pcm/{sha256(data)}",
        data=io.BytesIO(data),
        length=len(data),
    )
    request = upload_pb2.RegisterAudioRequest(
        sha256=sha256(data),
        format=format_pb2.PcmFormat(sample_rate_hz=RATE, channel_count=2),
        frame_count=len(samples),
        owner=ingest.principal,
        provenance=engine_pb2.Provenance(engine_used="maker@1"),
        **fields,
    )
    audio: audio_pb2.Audio = (await ingest.RegisterAudio(request)).audio
    return audio


async def test_what_a_service_made_is_the_callers_and_can_be_signed(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """Owner, parent and maker are recorded; the URL gives a WAV with the very samples."""
    parent = await ingest.store(encoded(noise(9000, seed=300)))
    samples = tone(1.0)
    audio = await made(
        ingest, shared_settings, samples, parents=[parent.name], file_name="song_mastered.flac"
    )
    assert (list(audio.parents), audio.provenance.engine_used) == ([parent.name], "maker@1")
    url = (await ingest.SignUrl(reading_pb2.SignUrlRequest(audio=audio.name))).url
    data, headers = fetched(url)
    found, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    assert np.array_equal(found, samples)
    assert headers["content-type"] == "audio/wav"
    assert "song_mastered.wav" in headers["content-disposition"]
    again = (await ingest.SignUrl(reading_pb2.SignUrlRequest(audio=audio.name))).url
    assert again.partition("?")[0] == url.partition("?")[0]
    stranger = ingest.other().SignUrl(reading_pb2.SignUrlRequest(audio=audio.name))
    assert (await refusal(stranger)).reason == "AUDIO_NOT_FOUND"
    key = url.partition("?")[0].rpartition(f"{shared_settings.objects_bucket}/")[2]
    assert key in keys(shared_settings, "exports/")
    await ingest.delete(audio.name)
    assert key not in keys(shared_settings, "exports/")


async def test_a_name_is_not_given_to_two_sounds(ingest: Ingest, shared_settings: Settings) -> None:
    """The same bytes as another number of frames are refused: a digest names one sound."""
    data = np.zeros((800, 2), "<f4")
    await made(ingest, shared_settings, data)
    request = upload_pb2.RegisterAudioRequest(
        sha256=sha256(data.tobytes()),
        format=format_pb2.PcmFormat(sample_rate_hz=RATE, channel_count=1),
        frame_count=1600,
        owner=ingest.principal,
        provenance=engine_pb2.Provenance(engine_used="maker@1"),
    )
    assert (await refusal(ingest.RegisterAudio(request))).reason == "UPLOAD_SIZE_MISMATCH"


@pytest.mark.parametrize(
    ("subtype", "kind"), [("PCM_16", "PCM_16"), ("PCM_24", "PCM_24"), ("FLOAT", "FLOAT")]
)
async def test_a_cut_is_the_same_samples(ingest: Ingest, subtype: str, kind: str) -> None:
    """Frame for frame, with its parent and its place in it; its file holds them as exactly."""
    whole = noise(30_000, seed=301) / 32768 + (0 if subtype == "PCM_16" else 2**-22)
    parent = await ingest.store(encoded(whole, subtype=subtype), file_name="a song.wav")
    span = format_pb2.FrameSpan(start_frame=1234, frame_count=7001)
    request = audio_pb2.CutAudioRequest(name=parent.name, span=span)
    cut = (await ingest.CutAudio(request)).audio
    assert (list(cut.parents), cut.parent_span) == ([parent.name], span)
    expected = await ingest.frames(parent.name, 1234, 7001)
    assert np.array_equal(await ingest.frames(cut.name), expected)
    file = await ingest.original(cut.name)
    assert cut.name == f"audio/{hashlib.sha256(file).hexdigest()}"
    assert soundfile.info(io.BytesIO(file)).subtype == kind
    assert np.array_equal(soundfile.read(io.BytesIO(file), dtype="float32")[0], expected)
    assert (await ingest.CutAudio(request)).audio.name == cut.name
    assert cut.name in await ingest.delete(parent.name)


@pytest.mark.parametrize(
    ("tier", "start", "seconds", "reason"),
    [
        ("producer", 0, 14.9, "AUDIO_TOO_SHORT"),
        ("producer", 0, 90.1, "AUDIO_TOO_LONG"),
        ("free", 0, 15.1, "AUDIO_TOO_LONG"),
        ("studio", 90, 20, "SPAN_PAST_END"),
        ("local", 101, 0, "SPAN_PAST_END"),
        ("producer", -1, 20, "REQUEST_INVALID"),
    ],
)
async def test_a_cut_is_held_to_the_tier_and_the_sound(
    ingest: Ingest, tier: str, start: float, seconds: float, reason: str
) -> None:
    """Too short, too long, past the end, before the beginning: each by its name."""
    parent = await ingest.store(encoded(noise(8000 * 100, 1, seed=302), 8000))
    caller = ingest.other(ingest.principal, tier)
    span = {"start_frame": int(start * 8000), "frame_count": int(seconds * 8000)}
    found = await refusal(caller.CutAudio(audio_pb2.CutAudioRequest(name=parent.name, span=span)))
    assert found.reason == reason


async def test_a_preview_is_the_loudest_passage_faded(ingest: Ingest) -> None:
    """Fifteen seconds around what is loud, from nothing to nothing; MP3 unless asked."""
    rate = 8000
    whole = np.full((60 * rate, 1), 0.01)
    whole[30 * rate : 45 * rate] = 0.5
    audio = await ingest.store(encoded(whole * np.sin(np.arange(60 * rate))[:, None], rate))
    request = reading_pb2.GetPreviewRequest(audio=audio.name, encoding="ENCODING_WAV16")
    kind, data = await drained(ingest.GetPreview(request))
    found, _ = soundfile.read(io.BytesIO(data))
    assert (kind, len(found)) == ("audio/wav", 15 * rate)
    assert np.abs(found[rate : 14 * rate]).max() > 0.49
    assert np.sqrt(np.mean(found**2)) > 0.3
    assert max(np.abs(found[:20]).max(), np.abs(found[-20:]).max()) < 0.01
    kind, data = await drained(ingest.GetPreview(reading_pb2.GetPreviewRequest(audio=audio.name)))
    assert kind == "audio/mpeg"
    assert abs(_decoded(data).shape[1] - 15 * rate) <= 1


async def test_a_preview_of_a_span_is_that_span(ingest: Ingest) -> None:
    """At most fifteen seconds of it; past the end is told."""
    audio = await ingest.store(encoded(noise(8000 * 20, 2, seed=303), 8000))
    request = reading_pb2.GetPreviewRequest(audio=audio.name, encoding="ENCODING_FLAC")
    request.span.start_frame, request.span.frame_count = 8000, 16000
    _, data = await drained(ingest.GetPreview(request))
    found, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    expected = await ingest.frames(audio.name, 8000, 16000)
    middle = slice(5000, 11000)
    assert np.abs(found[middle] - expected[middle]).max() < 2.1 / 32768
    request.span.start_frame = 8000 * 20
    assert (await refusal(drained(ingest.GetPreview(request)))).reason == "SPAN_PAST_END"


def _decoded(data: bytes) -> Any:
    with av.open(io.BytesIO(data), "r") as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


@pytest.mark.parametrize("encoding", ["WAV16", "WAV24", "WAV32F", "FLAC", "MP3", "OPUS"])
async def test_every_encoding_comes_out(ingest: Ingest, encoding: str) -> None:
    """The sound at its length: exact where bits allow, within dither or the codec's loss else."""
    samples = tone(3.0, 48000)
    audio = await ingest.store(encoded(samples, 48000, subtype="FLOAT"))
    request = reading_pb2.DownloadAudioRequest(audio=audio.name, encoding=f"ENCODING_{encoding}")
    _, data = await drained(ingest.DownloadAudio(request))
    found = _decoded(data)
    found = found.reshape(-1, 2).T if found.shape[0] == 1 else found
    scale = {"int16": 2.0**15, "int32": 2.0**31}.get(str(found.dtype), 1.0)
    off = np.abs(found / scale - samples.T)
    tolerance = {
        "WAV16": 2**-14, "WAV24": 2**-22, "WAV32F": 0, "FLAC": 2**-22, "MP3": 0.01, "OPUS": 0.03
    }[encoding]  # fmt: skip
    assert found.shape == samples.T.shape
    assert off[:, 2000:-2000].max() <= tolerance


async def test_a_long_file_in_another_encoding_is_whole(ingest: Ingest) -> None:
    """FLAC's head, written last, says the frames and the digest of all of it."""
    whole = noise(RATE * 60, seed=304)
    audio = await ingest.store(encoded(whole))
    request = reading_pb2.DownloadAudioRequest(audio=audio.name, encoding="ENCODING_FLAC")
    _, data = await drained(ingest.DownloadAudio(request))
    assert soundfile.info(io.BytesIO(data)).frames == len(whole)
    assert data[26:42] == hashlib.md5(whole.tobytes()).digest()
    assert np.array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], whole)


async def test_an_export_is_an_operation_that_ends_with_a_url(ingest: Ingest) -> None:
    """At the rate asked for, with size and digest; repeating the request is one operation."""
    audio = await ingest.store(encoded(noise(RATE, seed=305)))
    request = reading_pb2.ExportAudioRequest(
        audio=audio.name,
        encoding="ENCODING_WAV24",
        sample_rate_hz=48000,
        request_id=str(uuid.uuid4()),
    )
    begun = await ingest.ExportAudio(request)
    assert (await ingest.ExportAudio(request)).name == begun.name
    operations: Any = operations_pb2_grpc.OperationsStub(ingest.channel)
    who = {"metadata": ingest._metadata, "timeout": 30}
    while not begun.done:
        await asyncio.sleep(0.05)
        asked = operations_pb2.GetOperationRequest(name=begun.name)
        begun = await operations.GetOperation(asked, **who)
    answer = reading_pb2.ExportAudioResponse()
    assert begun.response.Unpack(answer), begun.error
    data, _ = fetched(answer.url)
    assert (len(data), sha256(data)) == (answer.size_bytes, answer.sha256)
    info = soundfile.info(io.BytesIO(data))
    assert (info.samplerate, info.frames, info.subtype) == (48000, 48000, "PCM_24")


async def test_an_object_of_the_callers_own_is_imported(
    ingest: Ingest, shared_settings: Settings
) -> None:
    """As if it had been uploaded; repeating the request is the same audio."""
    data = encoded(noise(5000, seed=306))
    key = f"imports/{ingest.principal}/folder/take.wav"
    bucket_of(shared_settings).put_object(
        bucket_name=shared_settings.objects_bucket,
        object_name=key,
        data=io.BytesIO(data),
        length=len(data),
    )
    request = upload_pb2.ImportObjectRequest(key=key, request_id=str(uuid.uuid4()))
    audio = (await ingest.ImportObject(request)).audio
    assert (audio.name, audio.file_name) == (f"audio/{sha256(data)}", "take.wav")
    assert (await ingest.ImportObject(request)).audio == audio
    assert await ingest.original(audio.name) == data


@pytest.mark.parametrize(
    "key", ["audio/{0}", "imports/{1}/a.wav", "imports/{2}/../{1}/a.wav", "imports/{2}x/a.wav"]
)
async def test_nothing_else_is_imported(ingest: Ingest, key: str) -> None:
    """Another's key, or one outside, is forbidden; one's own that is not there is not found."""
    other = ingest.other()
    written = key.format("0" * 64, other.principal, ingest.principal)
    request = upload_pb2.ImportObjectRequest(key=written, request_id=str(uuid.uuid4()))
    found = await refusal(ingest.ImportObject(request))
    assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALL_FORBIDDEN")
    request.key = f"imports/{ingest.principal}/none.wav"
    found = await refusal(ingest.ImportObject(request))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND")


async def test_loudness_and_true_peak_are_measured(ingest: Ingest) -> None:
    """1 kHz at -20 dBFS on both channels is -20 LUFS; a tone between samples peaks above them."""
    time = np.arange(RATE * 5) / RATE
    loud = 0.1 * np.sin(2 * np.pi * 997 * time)
    # A quarter of the rate, an eighth of a turn late: every sample is 3 dB under the peak.
    hidden = 0.5 * np.sin(np.pi / 2 * np.arange(RATE * 5) + np.pi / 4)
    audio = await measured(ingest, encoded(np.stack([loud, loud], axis=1), subtype="FLOAT"))
    assert audio.integrated_lufs == pytest.approx(-20.0, abs=0.1)
    assert audio.true_peak_dbtp == pytest.approx(-20.0, abs=0.05)
    audio = await measured(ingest, encoded(np.stack([hidden, hidden], axis=1)))
    assert audio.sample_peak_dbfs == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.01)
    assert audio.true_peak_dbtp == pytest.approx(20 * np.log10(0.5), abs=0.2)


async def measured(ingest: Ingest, data: bytes) -> audio_pb2.Audio:
    """Stored audio, once its row says how loud it is."""
    name = (await ingest.store(data)).name
    for _ in range(200):
        audio = await ingest.get(name)
        if audio.HasField("integrated_lufs"):
            return audio
        await asyncio.sleep(0.05)
    raise AssertionError("It was not measured.")
