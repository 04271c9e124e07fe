"""The meter's CPU against libebur128 and FFmpeg's ebur128, measuring the same sound in turns.

Ours finds integrated loudness, loudness range and true peak (and the rest it always finds);
libebur128 only integrated loudness and true peak, as perf.md G2 asks. FFmpeg's filter, from PyAV,
finds all three. Both readings must agree with ours. Without libebur128 its part is left out, aloud.
"""

import ctypes
import ctypes.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from chorale_mastering.meter import Meter

from bench.ratios import Bound, Ratio, report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import signals

SECONDS, ROUNDS, RATE_HZ = 240, 5, 44100
BLOCK_FRAMES = 1 << 16
_INTEGRATED, _TRUE_PEAK = 1 << 2 | 1, 1 << 5 | 1 << 4 | 1  # modes of libebur128


@dataclass(frozen=True)
class Reading:
    """What a meter says."""

    integrated_lufs: float
    true_peak_dbtp: float


def ours(sound: signals.Signal) -> Reading:
    """Our meter, in blocks as a service reads them."""
    meter = Meter(RATE_HZ, 2)
    for start in range(0, len(sound), BLOCK_FRAMES):
        meter.push(sound[start : start + BLOCK_FRAMES])
    meter.finish()
    found = meter.read()
    assert found.integrated_lufs is not None
    return Reading(found.integrated_lufs, found.true_peak_dbtp)


class Ebur128:
    """libebur128 as the system has it."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.ebur128_init.restype = ctypes.c_void_p

    def __call__(self, sound: signals.Signal) -> Reading:
        """Measures integrated loudness and true peak, nothing else."""
        library = self._library
        state = ctypes.c_void_p(
            library.ebur128_init(2, ctypes.c_ulong(RATE_HZ), _INTEGRATED | _TRUE_PEAK)
        )
        for start in range(0, len(sound), BLOCK_FRAMES):
            block = np.ascontiguousarray(sound[start : start + BLOCK_FRAMES])
            pointer = block.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            library.ebur128_add_frames_float(state, pointer, ctypes.c_size_t(len(block)))
        loudness, peaks = ctypes.c_double(), [ctypes.c_double(), ctypes.c_double()]
        library.ebur128_loudness_global(state, ctypes.byref(loudness))
        for channel, peak in enumerate(peaks):
            library.ebur128_true_peak(state, channel, ctypes.byref(peak))
        library.ebur128_destroy(ctypes.byref(state))
        return Reading(loudness.value, 20.0 * np.log10(max(peak.value for peak in peaks)))


def ffmpeg(sound: signals.Signal) -> Reading:
    """FFmpeg's ebur128 with loudness, range and true peak, told by the metadata of its frames."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=RATE_HZ, format="flt", layout="stereo", time_base=Fraction(1, RATE_HZ)
    )
    meter, sink = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    told: dict[str, str] = {}
    for start in range(0, len(sound), BLOCK_FRAMES):
        block = np.ascontiguousarray(sound[start : start + BLOCK_FRAMES]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="stereo")
        frame.sample_rate, frame.pts = RATE_HZ, start
        graph.push(frame)
        told |= _told(graph)
    graph.push(None)
    told |= _told(graph)
    peak = float(told["lavfi.r128.true_peak"])  # as a factor, unlike everything else it tells
    return Reading(float(told["lavfi.r128.I"]), 20.0 * np.log10(peak))


def _told(graph: av.filter.Graph) -> dict[str, str]:
    """The metadata of every frame that is ready, the latest last."""
    told: dict[str, str] = {}
    while True:
        try:
            told |= dict(graph.pull().metadata)
        except (av.error.BlockingIOError, av.error.EOFError):
            return told


def main() -> int:
    """Measures in turns and reports the ratios; 1 when a goal is missed."""
    sound = _song()
    meters: dict[str, Callable[[signals.Signal], Reading]] = {"ours": ours, "ffmpeg": ffmpeg}
    path = ctypes.util.find_library("ebur128")
    if path is None:
        print("NOT MEASURED: libebur128 is not installed (apt-get install libebur128-1)")
    else:
        meters["libebur128"] = Ebur128(path)
    readings = {name: meter(sound) for name, meter in meters.items()}  # warms every one up
    cpu: dict[str, list[float]] = {name: [] for name in meters}
    for _ in range(ROUNDS):
        for name, meter in meters.items():
            started = time.process_time()
            meter(sound)
            cpu[name].append(1000.0 * (time.process_time() - started))
    for name, reading in readings.items():
        print(f"     {name}: {reading.integrated_lufs:.3f} LUFS {reading.true_peak_dbtp:.3f} dBTP")
    goals = {"libebur128": 0.35, "ffmpeg": 0.35}
    figures: list[Ratio | Bound] = [
        Ratio(f"I+LRA+TP / {name}", cpu["ours"], cpu[name], "ms", at_most=goal)
        for name, goal in goals.items()
        if name in cpu
    ]
    if "libebur128" in readings:
        theirs, found = readings["libebur128"], readings["ours"]
        difference = abs(found.integrated_lufs - theirs.integrated_lufs)
        figures.append(Bound("difference of I from libebur128", difference, "LU", 0.01))
        under = theirs.true_peak_dbtp - found.true_peak_dbtp
        figures.append(Bound("true peak under libebur128's", under, "dB", 0.05))
    return report(figures)


def _song() -> signals.Signal:
    """Four minutes with loud and soft passages, drums of white noise among them."""
    song = signals.song(120, "A", "minor", SECONDS)
    swell = 0.4 + 0.6 * np.sin(np.arange(len(song)) * (np.pi / (20.0 * RATE_HZ))) ** 2
    swelling: signals.Signal = (song * swell[:, None]).astype(np.float32)
    return swelling


if __name__ == "__main__":
    sys.exit(main())
