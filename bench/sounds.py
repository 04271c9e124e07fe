"""Sounds to measure with: something like music, in every format that is asked for."""

import io
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 44_100
# name -> (soundfile's format, subtype)
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def music(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Struck harmonic notes over a noise that beats: what codecs find neither easy nor hopeless."""
    generator = np.random.default_rng(seed)
    count = int(seconds * rate_hz)
    bar = int(0.5 * rate_hz)
    time = np.arange(bar, dtype=np.float32) / rate_hz
    decay = np.exp(-6 * time)[:, np.newaxis]
    pieces = []
    for _ in range(-(-count // bar)):
        pitch = 110 * 2 ** (generator.integers(0, 25) / 12)
        notes = np.sum([np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 7)], axis=0)
        hiss = generator.standard_normal((bar, 2), dtype=np.float32)
        pieces.append(0.2 * notes[:, np.newaxis] * decay + 0.03 * hiss * decay**4)
    return np.concatenate(pieces)[:count].astype(np.float32)


def encoded(samples: NDArray[np.float32], name: str, rate_hz: int = RATE_HZ) -> bytes:
    """A file of one of `FORMATS`."""
    container, subtype = FORMATS[name]
    file = io.BytesIO()
    # libsndfile's Vorbis encoder overflows its stack when it is given minutes at once.
    shape = (rate_hz, samples.shape[1])
    with soundfile.SoundFile(file, "w", *shape, format=container, subtype=subtype) as written:
        for start in range(0, len(samples), rate_hz):
            written.write(samples[start : start + rate_hz])
    return file.getvalue()


def aac(samples: NDArray[np.float32], rate_hz: int = RATE_HZ) -> bytes:
    """AAC in an M4A, as phones make it."""
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as container:
        stream: Any = container.add_stream("aac", rate=rate_hz)
        stream.codec_context.layout = "stereo"
        for start in range(0, len(samples), 1024):
            block = np.ascontiguousarray(samples[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def tagged(mp3: bytes, number: int) -> bytes:
    """The same MP3 under another digest: an ID3v2.4 title before it."""
    text = f"\x03take {number}".encode()
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    return b"ID3\x04\0\0" + len(frame).to_bytes(4, "big") + frame + mp3
