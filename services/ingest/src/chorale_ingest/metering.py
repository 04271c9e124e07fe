"""How loud a sound is. Runs only inside the confined child process.

Loudness by FFmpeg's own meter (ITU-R BS.1770, EBU R 128); true peak as the greatest sample
of the sound at four times its rate, from 96 kHz on twice, by soxr.
"""

import json
import math
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soxr
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Ended

from chorale_ingest import samples
from chorale_ingest.encoding import Frames, layout_name, whole_block
from chorale_ingest.forms import Order

BLOCK_FRAMES = 1 << 16
GATE_LUFS = -70.0  # what the meter says when nothing passed its gate
FAST_HZ, FASTEST_HZ = 88_200, 176_400


def measure(frames: Frames, order: Order) -> bytes:
    """Measure to the end; what is undefined, as of silence, is null."""
    rate, channel_count = order.sample_rate_hz, order.layout.channel_count
    _graph, source, sink = _meter(order)  # without the graph its ends are dead
    finer = soxr.ResampleStream(rate, rate * _factor(rate), channel_count, quality="HQ")
    peak, position = 0.0, 0
    said: dict[str, str] = {}
    while data := whole_block(frames, BLOCK_FRAMES * order.layout.frame_bytes):
        signal = np.ascontiguousarray(samples.signal(samples.unpacked(data, order.layout)))
        peak = max(peak, _greatest(signal), _greatest(finer.resample_chunk(signal)))
        frame = av.AudioFrame.from_ndarray(
            signal.reshape(1, -1), format="flt", layout=layout_name(order)
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
        position += len(signal)
        source.push(frame)
        said = _heard(sink) or said
    peak = max(peak, _greatest(finer.resample_chunk(np.empty((0, channel_count), "f4"), last=True)))
    source.push(None)
    said = _heard(sink) or said
    loudness = float(said.get("lavfi.r128.I", GATE_LUFS))
    told = {
        "integrated_lufs": loudness if loudness > GATE_LUFS else None,
        "true_peak_dbtp": 20 * math.log10(peak) if peak > 0 else None,
    }
    return json.dumps(told).encode()


def _meter(order: Order) -> tuple[Any, Any, Any]:
    graph = av.filter.Graph()
    graph.threads = 1
    source: Any = graph.add_abuffer(
        sample_rate=order.sample_rate_hz,
        format="flt",
        layout=layout_name(order),
        time_base=Fraction(1, order.sample_rate_hz),
    )
    meter: Any = graph.add("ebur128", "metadata=1:framelog=quiet")
    sink: Any = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    return graph, source, sink


def _heard(sink: Any) -> dict[str, str]:
    said: dict[str, str] = {}
    while True:
        try:
            said = dict(sink.pull().metadata) or said
        except (NothingYet, Ended):
            return said


def _factor(rate_hz: int) -> int:
    return 1 if rate_hz >= FASTEST_HZ else 2 if rate_hz >= FAST_HZ else 4


def _greatest(signal: samples.Signal) -> float:
    return float(max(signal.max(), -signal.min())) if signal.size else 0.0
