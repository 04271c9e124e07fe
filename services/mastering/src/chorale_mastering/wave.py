"""WAV files: the head of one, and frames as its bytes.

Our own, because a master's name is the digest of its bytes, and libsndfile writes the time into
the PEAK chunk of a file of floats.
"""

import struct

import numpy as np
import numpy.typing as npt

from chorale_mastering.block import Samples

_SIZE_MAX = 0xFFFFFFFF
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# KSDATAFORMAT_SUBTYPE_*: the format's number, then this.
_SUBTYPE_REST = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
# Which loudspeakers the channels are, by their number; 0: nobody knows.
_CHANNEL_MASKS = {1: 0x4, 2: 0x3, 6: 0x3F, 8: 0x63F}


def head(
    bits: int, is_float: bool, channel_count: int, sample_rate_hz: int, frame_count: int
) -> bytes:
    """The head, of one length however many frames follow; RF64 from 4 GiB on.

    As EBU Tech 3306 has it: room is kept by a JUNK chunk, which becomes the ds64 chunk.
    """
    data_bytes = frame_count * channel_count * bits // 8
    chunks = _format(bits, is_float, channel_count, sample_rate_hz)
    if is_float:
        chunks += struct.pack("<4sII", b"fact", 4, min(frame_count, _SIZE_MAX))
    riff_bytes = 4 + 36 + len(chunks) + 8 + data_bytes + data_bytes % 2
    is_long = riff_bytes > _SIZE_MAX
    sizes = (riff_bytes, data_bytes, frame_count, 0) if is_long else (0, 0, 0, 0)
    return (
        struct.pack("<4sI4s", b"RF64" if is_long else b"RIFF", min(riff_bytes, _SIZE_MAX), b"WAVE")
        + struct.pack("<4sIQQQI", b"ds64" if is_long else b"JUNK", 28, *sizes)
        + chunks
        + struct.pack("<4sI", b"data", _SIZE_MAX if is_long else data_bytes)
    )


def tail(bits: int, channel_count: int, frame_count: int) -> bytes:
    """What follows the frames: chunks have an even size."""
    return bytes(frame_count * channel_count * bits // 8 % 2)


def packed(block: Samples, bits: int, is_float: bool) -> bytes:
    """Frames as the file holds them; whole numbers are the nearest, and clipped."""
    if is_float:
        return np.ascontiguousarray(block, "<f4").tobytes()
    numbers = whole(block, bits)
    if bits == 16:
        return numbers.astype("<i2").tobytes()
    if bits == 32:
        return numbers.astype("<i4").tobytes()
    return numbers.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()


def whole(block: Samples, bits: int) -> npt.NDArray[np.int32]:
    """Samples as whole numbers of so many bits."""
    full = 2.0 ** (bits - 1)
    numbers: npt.NDArray[np.int32] = np.rint(
        np.clip(block.astype(np.float64) * full, -full, full - 1.0)
    ).astype(np.int32)
    return numbers


def _format(bits: int, is_float: bool, channel_count: int, sample_rate_hz: int) -> bytes:
    kind = _FLOAT if is_float else _PCM
    # Plain heads are what the oldest readers know; they cannot say more than this.
    is_plain = channel_count <= 2 and (is_float or bits == 16)
    frame_bytes = channel_count * bits // 8
    fields = struct.pack(
        "<HHIIHH",
        kind if is_plain else _EXTENSIBLE,
        channel_count,
        sample_rate_hz,
        sample_rate_hz * frame_bytes,
        frame_bytes,
        bits,
    )
    if not is_plain:
        mask = _CHANNEL_MASKS.get(channel_count, 0)
        fields += struct.pack("<HHIH", 22, bits, mask, kind) + _SUBTYPE_REST
    return struct.pack("<4sI", b"fmt ", len(fields)) + fields
