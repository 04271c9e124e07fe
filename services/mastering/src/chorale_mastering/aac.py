"""AAC there and back, in a process of its own: PCM on standard input, PCM on standard output.

    python -m chorale_mastering.aac SAMPLE_RATE_HZ CHANNEL_COUNT BITRATE_KBPS

Samples are float32, little-endian, channels interleaved. libsndfile knows no AAC; PyAV does, and
its wheel carries x264 and x265, which are under the GPL: so it is an extra that who wants it
installs, and only this process, which serves nobody, ever loads it.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Any, BinaryIO

_BLOCK_FRAMES = 1 << 15


def through(
    source: BinaryIO, target: BinaryIO, sample_rate_hz: int, channel_count: int, bitrate_kbps: int
) -> None:
    """Writes what a decoder makes of each packet as soon as the encoder has it."""
    import av

    layout = "mono" if channel_count == 1 else "stereo"
    encoder: Any = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = sample_rate_hz, layout, "fltp"
    encoder.bit_rate, encoder.time_base = 1000 * bitrate_kbps, Fraction(1, sample_rate_hz)
    encoder.open()
    decoder: Any = av.CodecContext.create("aac", "r")
    decoder.extradata = encoder.extradata
    for frame in chain(_frames(source, sample_rate_hz, layout), (None,)):
        for packet in encoder.encode(frame):
            _write(decoder.decode(packet), target)
    _write(decoder.decode(None), target)


def _frames(source: BinaryIO, sample_rate_hz: int, layout: str) -> Iterator[Any]:
    import av
    import numpy as np

    channel_count = 1 if layout == "mono" else 2
    position = 0
    while data := source.read(_BLOCK_FRAMES * 4 * channel_count):
        block = np.frombuffer(data, "<f4").reshape(-1, channel_count)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.T), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = sample_rate_hz, position
        frame.time_base = Fraction(1, sample_rate_hz)
        position += len(block)
        yield frame


def _write(frames: list[Any], target: BinaryIO) -> None:
    for frame in frames:  # planes of floats: the decoder's own format
        target.write(frame.to_ndarray().T.astype("<f4").tobytes())


if __name__ == "__main__":
    through(sys.stdin.buffer, sys.stdout.buffer, *(int(word) for word in sys.argv[1:4]))
