"""The head of a WAV file, for sound whose frames follow as they are stored."""

import struct

from chorale_ingest.samples import Encoding, Layout

SIZE_MAX = 0xFFFFFFFF
FORMAT_PCM, FORMAT_FLOAT = 1, 3


def head(layout: Layout, sample_rate_hz: int, frame_count: int) -> bytes:
    """Make the head: WAVE with a `fact` chunk for floats; RF64 from 4 GiB on (EBU Tech 3306)."""
    data_bytes = frame_count * layout.frame_bytes
    is_float = layout.encoding is Encoding.F32LE
    chunks = _format(layout, sample_rate_hz)
    if is_float:
        chunks += struct.pack("<4sII", b"fact", 4, min(frame_count, SIZE_MAX))
    riff_bytes = 4 + len(chunks) + 8 + data_bytes
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


def _format(layout: Layout, sample_rate_hz: int) -> bytes:
    is_float = layout.encoding is Encoding.F32LE
    return struct.pack(
        "<4sIHHIIHH",
        b"fmt ",
        16,
        FORMAT_FLOAT if is_float else FORMAT_PCM,
        layout.channel_count,
        sample_rate_hz,
        sample_rate_hz * layout.frame_bytes,
        layout.frame_bytes,
        8 * layout.encoding.sample_bytes,
    )
