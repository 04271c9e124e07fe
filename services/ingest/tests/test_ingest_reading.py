"""Reading back: any span, any rate, and halves that make the whole."""

import asyncio
import io

import grpc
import numpy as np
import pytest
import soundfile
import soxr
import urllib3
from chorale.ingest.v1 import reading_pb2
from google.protobuf.duration_pb2 import Duration
from ingest_testing import Ingest, drained, encoded, noise, refusal

FRAMES = 100_003


@pytest.fixture
async def stereo(ingest: Ingest) -> str:
    """The name of stored noise."""
    return (await ingest.store(encoded(noise(FRAMES, seed=20)))).name


@pytest.mark.parametrize(
    ("start", "count"), [(0, 0), (0, 1), (1, 63), (65_535, 2), (FRAMES - 1, 0), (99_000, 1 << 40)]
)
async def test_any_span_is_exact(ingest: Ingest, stereo: str, start: int, count: int) -> None:
    """Frames come back bit for bit, clipped at the end of the audio."""
    whole = noise(FRAMES, seed=20).astype(np.float32) / 32768
    end = min(start + count, FRAMES) if count else FRAMES
    assert np.array_equal(await ingest.frames(stereo, start, count), whole[start:end])


async def test_the_first_message_tells_the_format(ingest: Ingest, stereo: str) -> None:
    """Format and length come once; messages are of the size asked for."""
    request = reading_pb2.ReadFramesRequest(audio=stereo, chunk_bytes=80_000, channel_count=1)
    parts = await drained(ingest.ReadFrames(request))
    assert (parts[0].format.sample_rate_hz, parts[0].format.channel_count) == (44100, 1)
    assert parts[0].total_frames == FRAMES
    assert all(len(part.pcm) == 80_000 for part in parts[:-1])
    assert not any(part.HasField("format") or part.total_frames for part in parts[1:])


async def test_channels_are_mixed_and_doubled(ingest: Ingest, stereo: str) -> None:
    """Mono is the mean of all; of mono, stereo is the same twice; of more, the first two."""
    whole = noise(FRAMES, seed=20).astype(np.float32) / 32768
    mono = await ingest.frames(stereo, channel_count=1)
    assert np.allclose(mono[:, 0], whole.mean(axis=1), atol=1e-7)
    one = await ingest.store(encoded(noise(5000, 1, seed=21)))
    assert np.array_equal(
        await ingest.frames(one.name, channel_count=2),
        np.repeat(await ingest.frames(one.name), 2, axis=1),
    )
    six = await ingest.store(encoded(noise(5000, 6, seed=22)))
    both = await ingest.frames(six.name, channel_count=2)
    assert np.array_equal(both, (await ingest.frames(six.name))[:, :2])


@pytest.mark.parametrize("rate", [8000, 22050, 44101, 48000, 192_000])
async def test_a_resumed_read_equals_the_whole(ingest: Ingest, stereo: str, rate: int) -> None:
    """At any rate the pieces of a read are the whole, bit for bit, wherever it was cut."""
    whole = await ingest.frames(stereo, sample_rate_hz=rate)
    assert len(whole) == -(-FRAMES * rate // 44100)
    for cut in (1, len(whole) // 3, len(whole) - 1):
        halves = (
            await ingest.frames(stereo, 0, cut, sample_rate_hz=rate),
            await ingest.frames(stereo, cut, 0, sample_rate_hz=rate),
        )
        assert np.array_equal(np.concatenate(halves), whole)


async def test_resampling_is_soxr_at_its_best(ingest: Ingest, stereo: str) -> None:
    """A read at another rate is what soxr VHQ makes of the whole, silence around it."""
    whole = noise(FRAMES, seed=20).astype(np.float32) / 32768
    surrounded = np.pad(whole, ((4410, 4410), (0, 0)))
    truth = soxr.resample(surrounded, 44100, 48000, quality="VHQ")[4800:]
    found = await ingest.frames(stereo, sample_rate_hz=48000)
    assert np.abs(found - truth[: len(found)]).max() < 1e-7


async def test_a_span_past_the_end_is_refused(ingest: Ingest, stereo: str) -> None:
    """OUT_OF_RANGE, with the numbers, for frames and for bytes."""
    found = await refusal(ingest.frames(stereo, FRAMES))
    assert (found.code, found.reason) == (grpc.StatusCode.OUT_OF_RANGE, "SPAN_PAST_END")
    assert found.metadata == {"startFrame": str(FRAMES), "frameCount": str(FRAMES)}
    past = await refusal(ingest.original(stereo, offset_bytes=1 << 30))
    assert past.reason == "SPAN_PAST_END"


async def test_bytes_are_read_from_anywhere(ingest: Ingest, stereo: str) -> None:
    """ReadBytes resumes by offset and stops after the length asked for."""
    data = encoded(noise(FRAMES, seed=20))
    assert await ingest.original(stereo, offset_bytes=1000) == data[1000:]
    assert await ingest.original(stereo, offset_bytes=5, length_bytes=70_000) == data[5:70_005]


async def test_a_download_is_the_file(ingest: Ingest, stereo: str) -> None:
    """As it came, with its media type; or a WAV of floats that any reader opens."""
    data = encoded(noise(FRAMES, seed=20))
    parts = await drained(ingest.DownloadAudio(reading_pb2.DownloadAudioRequest(audio=stereo)))
    assert parts[0].content_type == "audio/wav"
    assert b"".join(part.data for part in parts) == data
    for encoding, subtype in (("WAV16", "PCM_16"), ("WAV32F", "FLOAT")):
        request = reading_pb2.DownloadAudioRequest(audio=stereo, encoding=f"ENCODING_{encoding}")
        file = b"".join(part.data for part in await drained(ingest.DownloadAudio(request)))
        assert soundfile.info(io.BytesIO(file)).subtype == subtype
        found, _ = soundfile.read(io.BytesIO(file), dtype="float32")
        assert np.array_equal(found * 32768, noise(FRAMES, seed=20))


async def test_a_signed_url_downloads_under_a_name(ingest: Ingest, stereo: str) -> None:
    """Anybody who holds the URL gets the bytes, saved under the name asked for."""
    signed = await ingest.SignUrl(
        reading_pb2.SignUrlRequest(
            audio=stereo, lifetime=Duration(seconds=60), file_name='mön"take.wav'
        )
    )
    reply = await asyncio.to_thread(urllib3.request, "GET", signed.url)
    assert reply.data == encoded(noise(FRAMES, seed=20))
    assert "take.wav" in reply.headers["content-disposition"]


async def test_the_overview_shows_every_peak(ingest: Ingest) -> None:
    """Minimum, maximum and rms of each point bound the samples it stands for."""
    samples = (noise(44100 * 60, 2, seed=23) // 4).astype(np.int16)
    samples[1_000_000] = (32767, -32768)
    name = (await ingest.store(encoded(samples))).name
    for count in (10, 500):
        request = reading_pb2.GetOverviewRequest(audio=name, point_count=count)
        found = await ingest.GetOverview(request)
        assert len(found.minimum) == len(found.maximum) == len(found.rms) == count
        at = int(1_000_000 / found.frames_per_point)
        assert (max(found.maximum), min(found.minimum)) == (32767 / 32768, -1.0)
        assert max(found.maximum[at - 1 : at + 2]) == 32767 / 32768  # points are 2048 frames wide
        assert 0.12 < min(found.rms) <= max(found.rms) < 0.2
    short = reading_pb2.GetOverviewRequest(audio=name, point_count=100)
    short.span.start_frame, short.span.frame_count = 999_950, 100
    found = await ingest.GetOverview(short)
    assert found.frames_per_point == 1
    assert found.maximum[50] == np.float32(32767 / 32768)
