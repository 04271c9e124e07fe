"""The head of a WAV file, for sound whose frames follow."""

import struct

SIZE_MAX = 0xFFFFFFFF
FORMAT_PCM, FORMAT_FLOAT, FORMAT_EXTENSIBLE = 1, 3, 0xFFFE
# KSDATAFORMAT_SUBTYPE_*: the format's number, then this.
SUBTYPE_REST = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
# Which loudspeakers the channels are, by their number, as FFmpeg takes such a file to be:
# 5.1 and 7.1 as everybody; 0: nobody knows.
CHANNEL_MASKS = {1: 0x4, 2: 0x3, 6: 0x3F, 8: 0x63F}


def head(
    bit_depth: int, is_float: bool, channel_count: int, sample_rate_hz: int, frame_count: int
) -> bytes:
    """Make the head: a `fact` chunk for floats; RF64 from 4 GiB on (EBU Tech 3306)."""
    data_bytes = frame_count * channel_count * bit_depth // 8
    chunks = _format(bit_depth, is_float, channel_count, sample_rate_hz)
    if is_float:
        chunks += struct.pack("<4sII", b"fact", 4, min(frame_count, SIZE_MAX))
    riff_bytes = 4 + len(chunks) + 8 + data_bytes + data_bytes % 2
    if riff_bytes <= SIZE_MAX:
        return (
            struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE")
            + chunks
            + struct.pack("<4sI", b"data", data_bytes)
        )
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff_bytes + 36, data_bytes, frame_count, 0)
    return (
        struct.pack("<4sI4s", b"RF64", SIZE_MAX, b"WAVE")
        + sizes
        + chunks
        + struct.pack("<4sI", b"data", SIZE_MAX)
    )


def tail(bit_depth: int, channel_count: int, frame_count: int) -> bytes:
    """What follows the frames: chunks have an even size."""
    return bytes(frame_count * channel_count * bit_depth // 8 % 2)


def _format(bit_depth: int, is_float: bool, channel_count: int, sample_rate_hz: int) -> bytes:
    kind = FORMAT_FLOAT if is_float else FORMAT_PCM
    # Plain heads are what the oldest readers know; they cannot say more than this.
    is_plain = channel_count <= 2 and (is_float or bit_depth == 16)
    frame_bytes = channel_count * bit_depth // 8
    fields = struct.pack(
        "<HHIIHH",
        kind if is_plain else FORMAT_EXTENSIBLE,
        channel_count,
        sample_rate_hz,
        sample_rate_hz * frame_bytes,
        frame_bytes,
        bit_depth,
    )
    if not is_plain:
        mask = CHANNEL_MASKS.get(channel_count, 0)
        fields += struct.pack("<HHIH", 22, bit_depth, mask, kind) + SUBTYPE_REST
    return struct.pack("<4sI", b"fmt ", len(fields)) + fields
