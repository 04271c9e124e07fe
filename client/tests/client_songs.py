"""Short songs for tests: seeded, decodable, each different."""

import io
import random
import wave
from array import array


def song(
    seed: int = 1, frame_count: int = 44_100, rate_hz: int = 44_100, channels: int = 2
) -> bytes:
    """A 16-bit WAV of seeded noise: every byte matters, none repeats."""
    samples = array("h", random.Random(seed).randbytes(frame_count * channels * 2))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def pcm(wav: bytes) -> bytes:
    """What `ReadFrames` must answer for a 16-bit WAV as stored: float32, 32768 is full scale."""
    with wave.open(io.BytesIO(wav)) as reader:
        samples = array("h", reader.readframes(reader.getnframes()))
    return array("f", (sample / 32768 for sample in samples)).tobytes()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit through a table: slow and plainly right."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_entry(value) for value in range(256)]
