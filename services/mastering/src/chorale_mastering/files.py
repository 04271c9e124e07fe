"""A master as a file: how it is written, and read again."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from chorale_mastering.block import Samples
from chorale_mastering.brief import Format
from chorale_mastering.encodings import WRITINGS, FileEncoding, Writing
from chorale_mastering.refusals import CodecMissing

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def write(path: str, blocks: Iterable[Samples], made: Format, encoding: FileEncoding) -> None:
    """Writes blocks that lie on the encoding's grid; lossless ones read back the same."""
    writing = WRITINGS[encoding]
    options = {"rf64": "auto"} if writing.suffix == "wav" else {}
    # Without it FFmpeg writes its own version into the file, and the name changes with it.
    with av.open(path, "w", format=writing.suffix, options={**options, "fflags": "+bitexact"}) as (
        target
    ):
        try:
            stream: Any = target.add_stream(
                writing.codec, rate=made.sample_rate_hz, options=dict(writing.options)
            )
        except ValueError as error:
            raise CodecMissing(encoding.value) from error
        stream.layout = _LAYOUTS.get(made.channel_count, f"{made.channel_count} channels")
        stream.format = writing.sample_format
        if encoding is FileEncoding.MP3_V0:
            stream.codec_context.qscale = True
        position = 0
        for block in blocks:
            if not len(block):
                continue
            frame = av.AudioFrame.from_ndarray(
                _packed(block, writing), format=writing.sample_format, layout=stream.layout.name
            )
            frame.sample_rate, frame.pts = made.sample_rate_hz, position
            frame.time_base = Fraction(1, made.sample_rate_hz)
            position += len(block)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def read(path: str, channel_count: int) -> Iterator[Samples]:
    """Yields the frames of a file as float32 blocks `(frames, channels)`."""
    source: Any
    with av.open(path, "r") as source:
        layout = _LAYOUTS.get(channel_count, f"{channel_count} channels")
        converter = av.AudioResampler(format="flt", layout=layout)
        for frame in source.decode(audio=0):
            for piece in converter.resample(frame):
                yield piece.to_ndarray().reshape(-1, channel_count).astype(np.float32)


def _packed(block: Samples, writing: Writing) -> np.ndarray[Any, Any]:
    if writing.sample_format == "fltp":
        return np.ascontiguousarray(np.clip(block, -1.0, 1.0).T)
    if writing.sample_format == "flt":
        return np.ascontiguousarray(block, np.float32).reshape(1, -1)
    kind, bits = (np.int16, 16) if writing.sample_format == "s16" else (np.int32, 32)
    full = 2.0 ** (bits - 1)
    whole = np.rint(block.astype(np.float64) * full)
    return np.clip(whole, -full, full - 1.0).astype(kind).reshape(1, -1)
