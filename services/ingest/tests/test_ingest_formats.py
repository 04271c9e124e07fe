"""Formats that other libraries do not write: sound beside pictures, Microsoft's, Apple's."""

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from chorale_ingest.decoding import Decoding
from ingest_testing import encoded, noise

RATE = 48000
LSB = 1 / 32768


def written(container_name: str, codec: str, *, with_pictures: bool = False) -> bytes:
    """A second of sound, and of pictures if asked, as FFmpeg's muxers write it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container_name) as container:
        pictures: Any = container.add_stream("mpeg4", rate=25) if with_pictures else None
        sound: Any = container.add_stream(codec, rate=RATE)
        sound.codec_context.layout, sound.codec_context.bit_rate = "stereo", 128_000
        if pictures is not None:
            pictures.width = pictures.height = 64
            for _ in range(25):
                blank = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                container.mux(pictures.encode(blank))
            container.mux(pictures.encode(None))
        for frame in _frames(sound):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return file.getvalue()


def _frames(sound: Any) -> Iterator[Any]:
    samples = noise(RATE, 2, seed=71) // 8
    size = sound.codec_context.frame_size or 1024
    for start in range(0, len(samples), size):
        block = np.ascontiguousarray(samples[start : start + size]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = RATE, start
        yield frame


def plainly(data: bytes) -> Any:
    """What FFmpeg itself makes of it, as floats."""
    with av.open(io.BytesIO(data), "r") as container:
        into = av.AudioResampler(format="flt")
        parts = [
            made.to_ndarray()
            for frame in container.decode(container.streams.audio[0])
            for made in into.resample(frame)
        ]
    return np.concatenate(parts, axis=1).reshape(-1, 2)


def decoded(data: bytes) -> tuple[Any, Any]:
    """What ingest makes of it, and of what kind it is."""
    work = Decoding(io.BytesIO(data), 60)
    pcm = b"".join(block.pcm for block in work.blocks())
    result = work.result()
    if result.encoding == "f32le":
        return result, np.frombuffer(pcm, "<f4").reshape(-1, 2)
    return result, np.frombuffer(pcm, "<i2").reshape(-1, 2).astype("f4") * LSB


@pytest.mark.parametrize(
    ("container_name", "codec", "found"),
    [
        ("asf", "wmav2", "wmav2"),
        ("asf", "wmav1", "wmav1"),
        ("ipod", "alac", "alac"),
        ("matroska", "flac", "flac"),
        ("mp4", "libmp3lame", "mp3"),
        ("webm", "libopus", "opus"),
        ("matroska", "pcm_s16le", "pcm_s16le"),
    ],
)
def test_every_container_gives_what_ffmpeg_gives(
    container_name: str, codec: str, found: str
) -> None:
    """Within one step of 16 bits, and as many frames, but for padding that FFmpeg leaves."""
    data = written(container_name, codec)
    result, ours = decoded(data)
    theirs = plainly(data)
    assert result.codec == found
    assert 0 <= len(theirs) - len(ours) < 3000
    assert np.abs(ours - theirs[: len(ours)]).max() <= LSB


def test_the_sound_of_a_film_is_taken() -> None:
    """Of an MP4 with pictures the sound is kept, to the frame, and nothing else."""
    result, ours = decoded(written("mp4", "aac", with_pictures=True))
    assert (result.codec, len(ours)) == ("aac", RATE)


def test_bw64_is_read_like_rf64() -> None:
    """The broadcasters' long WAV differs in its first four letters."""
    samples = noise(4410, 2, seed=72)
    data = encoded(samples, container="RF64", subtype="PCM_16")
    assert data[:4] == b"RF64"
    _, ours = decoded(b"BW64" + data[4:])
    assert np.array_equal(ours, samples.astype("f4") * LSB)
