"""A master as a file: how it is written, and read again."""

from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import soundfile

from chorale_mastering import wave
from chorale_mastering.block import Samples
from chorale_mastering.brief import Format
from chorale_mastering.encodings import WRITINGS, FileEncoding, Writing

_BLOCK_FRAMES = 1 << 15


def write(path: str, blocks: Iterable[Samples], made: Format, encoding: FileEncoding) -> None:
    """Writes blocks that lie on the encoding's grid; lossless ones read back the same.

    The same blocks make the same bytes: a master's name is their digest.
    """
    writing = WRITINGS[encoding]
    if writing.subtype:
        _write_encoded(path, blocks, made, writing)
    else:
        _write_wave(path, blocks, made, writing)


def read(file: str | IO[bytes]) -> Iterator[Samples]:
    """Yields the frames of a file as float32 blocks `(frames, channels)`."""
    with soundfile.SoundFile(file) as source:
        yield from source.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True)


def _write_wave(path: str, blocks: Iterable[Samples], made: Format, writing: Writing) -> None:
    is_float, bits = not writing.bits, writing.bits or 32
    rate, channel_count, frame_count = made.sample_rate_hz, made.channel_count, 0
    with open(path, "wb") as file:
        file.write(wave.head(bits, is_float, channel_count, rate, 0))
        for block in blocks:
            file.write(wave.packed(block, bits, is_float))
            frame_count += len(block)
        file.write(wave.tail(bits, channel_count, frame_count))
        file.seek(0)  # only now it is known how long the sound is
        file.write(wave.head(bits, is_float, channel_count, rate, frame_count))


def _write_encoded(path: str, blocks: Iterable[Samples], made: Format, writing: Writing) -> None:
    with soundfile.SoundFile(
        path,
        "w",
        made.sample_rate_hz,
        made.channel_count,
        writing.subtype,
        format=writing.suffix.upper(),
        compression_level=writing.level,
        bitrate_mode=writing.bitrate_mode,
    ) as target:
        for block in blocks:
            if not writing.bits:
                target.write(np.clip(block, -1.0, 1.0))
                continue
            # libsndfile takes the upper bits of 32.
            target.write(wave.whole(block, writing.bits) << (32 - writing.bits))
