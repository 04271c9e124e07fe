"""Canonical PCM: what a sample is once it is stored, and how it is read back.

Conventions: frames from byte 0, interleaved, little-endian, no header. Sources of
integers of at most 16 bits are kept as S16 (32768 is full scale), all others as
float32 (1.0 is full scale). Every conversion is element by element, so that cutting
a signal anywhere and converting the pieces gives the same bits as converting it whole.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[Any]  # (frames, channels)
Signal: TypeAlias = NDArray[np.float32]  # (frames, channels), in [-1.0, 1.0]

FULL_SCALE_S16 = 32768.0
FULL_SCALE_S32 = 2147483648.0
SAMPLE_MAX = 1e6  # +120 dBFS: far above any real overload, and squares of it stay finite
# What decoders give, planar (`s16p`) or not.
DECODED_DTYPES = {"u8": "u1", "s16": "<i2", "s32": "<i4", "flt": "<f4", "dbl": "<f8"}


class Encoding(Enum):
    """How canonical PCM writes a sample."""

    S16LE = "s16le"
    F32LE = "f32le"

    @property
    def sample_bytes(self) -> int:
        """Bytes per sample."""
        return 2 if self is Encoding.S16LE else 4

    @property
    def dtype(self) -> np.dtype[Any]:
        """The same, as numpy says it."""
        return np.dtype("<i2" if self is Encoding.S16LE else "<f4")


@dataclass(frozen=True)
class Layout:
    """How the frames of one object lie in its bytes."""

    encoding: Encoding
    channel_count: int

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame."""
        return self.encoding.sample_bytes * self.channel_count


def encoding_of(sample_format: str) -> Encoding:
    """Choose the canonical encoding for a decoder's sample format, such as `s16p` or `flt`."""
    return Encoding.S16LE if sample_format.rstrip("p") in ("u8", "s16") else Encoding.F32LE


def canonical(samples: Samples, sample_format: str) -> Samples:
    """Convert `(frames, channels)` of a decoder's format to canonical samples."""
    match sample_format.rstrip("p"):
        case "u8":
            return ((samples.astype(np.int16) - 128) << 8).astype("<i2")
        case "s16":
            return samples.astype("<i2", copy=False)
        case "s32":  # up to 24 bits are exact in float32
            return samples.astype("<f4") * np.float32(1.0 / FULL_SCALE_S32)
        case "flt" | "dbl":
            return samples.astype("<f4", copy=False)
        case other:
            raise ValueError(f"Samples of format {other!r} are not known.")


def unpacked(data: bytes, layout: Layout) -> Samples:
    """View stored bytes as `(frames, channels)`; the length must be whole frames."""
    return np.frombuffer(data, layout.encoding.dtype).reshape(-1, layout.channel_count)


def signal(samples: Samples) -> Signal:
    """Convert canonical samples to a float32 signal."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    return np.multiply(samples, np.float32(1.0 / FULL_SCALE_S16), dtype=np.float32)


def with_channels(samples: Signal, channel_count: int) -> Signal:
    """Give a signal the channels asked for: 0 as it is, 1 the mean of all, 2 stereo."""
    have = samples.shape[1]
    if channel_count in (0, have):
        return samples
    if channel_count == 1:
        # Column by column, since a matrix product may round differently at other lengths.
        total = samples[:, 0].copy()
        for channel in range(1, have):
            total += samples[:, channel]
        return (total * np.float32(1.0 / have))[:, np.newaxis]
    if have == 1:
        return np.repeat(samples, 2, axis=1)
    return samples[:, :2]
