"""Canonical PCM in, the bytes of a file out. Runs only inside the confined child process."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np

from chorale_ingest import quantising, samples
from chorale_ingest.forms import Order

# Muxers come back to write what they know at the end (STREAMINFO, the Xing frame): all of it
# lies in the first few kB, which are kept until then.
HEAD_BYTES = 64 << 10
LOW_RATES_BPS = {16000: 32_000, 32000: 80_000}  # MPEG-2.5 and MPEG-2 end lower: per channel


class Frames(Protocol):
    """Where canonical frames come from, in order."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to that many bytes."""
        ...


class File:
    """What a muxer writes to: tells what will not change, keeps what may."""

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self._tell, self._position, self.size_bytes = tell, 0, 0
        self.head = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes for where the file stands."""
        view, start = bytes(data), self._position
        kept = max(0, min(len(view), HEAD_BYTES - start))
        if kept:
            self.head[start : start + kept] = view[:kept]
        if kept < len(view):
            if start + kept != max(self.size_bytes, HEAD_BYTES):
                raise ValueError("a muxer writes over what is gone")
            self._tell(view[kept:])
        self._position += len(view)
        self.size_bytes = max(self.size_bytes, self._position)
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move."""
        self._position = {0: 0, 1: self._position, 2: self.size_bytes}[whence] + offset
        return self._position

    def tell(self) -> int:
        """Where it stands."""
        return self._position


def encode(frames: Frames, order: Order, tell: Callable[[bytes], None]) -> bytes:
    """Encode to the end; tells the file from byte `HEAD_BYTES` on and returns what is before."""
    file = File(tell)
    # bitexact: no version of a library and no random number in the file.
    container = av.open(file, "w", format=order.container, options={"fflags": "bitexact"})
    stream: Any = container.add_stream(order.codec, rate=order.sample_rate_hz)
    kind = _kind(order)
    context = stream.codec_context
    context.layout, context.format, context.thread_count = layout_name(order), kind, 1
    if order.bit_rate_bps:
        context.bit_rate = _bit_rate(order) * order.layout.channel_count
    position = block = 0
    while data := whole_block(frames, quantising.BLOCK_FRAMES * order.layout.frame_bytes):
        made = _shaped(samples.unpacked(data, order.layout), order, block)
        frame = av.AudioFrame.from_ndarray(made, format=kind, layout=layout_name(order))
        frame.sample_rate, frame.pts = order.sample_rate_hz, position
        frame.time_base = Fraction(1, order.sample_rate_hz)
        container.mux(stream.encode(frame))
        position += frame.samples
        block += 1
    container.mux(stream.encode(None))
    container.close()
    return bytes(file.head)


def _kind(order: Order) -> str:
    if order.bit_depth == 16:
        return "s16"
    return "s32" if order.bit_depth == 24 else {"libopus": "flt"}.get(order.codec, "fltp")


def layout_name(order: Order) -> str:
    """The channels as FFmpeg calls them."""
    names = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
    return names[order.layout.channel_count]


def _bit_rate(order: Order) -> int:
    if order.codec == "libmp3lame":
        for below_hz, most_bps in LOW_RATES_BPS.items():
            if order.sample_rate_hz < below_hz:
                return most_bps
    return order.bit_rate_bps


def _shaped(block: samples.Samples, order: Order, number: int) -> samples.Samples:
    if block.dtype.kind != "f" and order.bit_depth == 16:
        return block.reshape(1, -1)
    signal = samples.signal(block)
    if order.bit_depth in (16, 24):
        whole = quantising.quantised(signal, order.bit_depth, number, order.is_dithered)
        if order.bit_depth == 16:
            return whole.astype(np.int16).reshape(1, -1)
        return (whole << 8).reshape(1, -1)
    if _kind(order) == "flt":
        return np.ascontiguousarray(signal).reshape(1, -1)
    return np.ascontiguousarray(signal.T)


def whole_block(frames: Frames, size_bytes: int) -> bytes:
    """Read a whole block of the grid; only the last is shorter."""
    parts = bytearray()
    while len(parts) < size_bytes:
        part = frames.read(size_bytes - len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)
