"""Our meter beside libebur128 and FFmpeg's ebur128 on every track of the test material.

Integrated loudness must agree within 0.01 LU with both, and the true peak may lie under
libebur128's by at most 0.05 dB. All three read the same float32 frames.

FFmpeg sorts blocks into steps of 0.01 LU and so lets in, or leaves out, what lies just beside the
relative gate. Tracks on which it is off libebur128 for that are counted and told apart.
"""

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from chorale_mastering.block import Samples
from chorale_mastering.meter import Meter
from chorale_mastering.weighting import CHANNEL_WEIGHTS

from bench.ratios import Bound, report

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "testdata"
LOUDNESS_LU, UNDER_DB = 0.01, 0.05
_BLOCK_FRAMES = 1 << 16
_MODES = 1 << 2 | 1 << 5 | 1 << 4 | 1  # integrated, true peak, sample peak, momentary

Reading = tuple[float, float]  # LUFS and dBTP; -inf where nothing was heard


def main() -> int:
    """Measures every track three times; 1 where the meters disagree."""
    tracks = sorted(_tracks())
    if not tracks:
        print(f"NOT MEASURED: the test material at {MATERIAL} is absent")
        return 0
    path = ctypes.util.find_library("ebur128")
    if path is None:
        print("NOT MEASURED: libebur128 is not installed (apt-get install libebur128-1)")
        return 0
    libebur128 = Libebur128(path)
    off, under, under_ffmpeg = [], [], []
    off_ffmpeg: list[float] = []
    coarse: list[float] = []
    for track in tracks:
        sound, rate_hz = soundfile.read(track, dtype="float32", always_2d=True)
        found = ours(sound, rate_hz)
        theirs, filtered = libebur128(sound, rate_hz), ffmpeg(sound, rate_hz)
        off.append(abs(found[0] - theirs[0]))
        is_coarse = abs(theirs[0] - filtered[0]) > LOUDNESS_LU
        (coarse if is_coarse else off_ffmpeg).append(abs(found[0] - filtered[0]))
        under.append(theirs[1] - found[1])
        under_ffmpeg.append(filtered[1] - found[1])
        print(
            f"     {track.name:46} {found[0]:8.3f} LUFS {found[1]:7.3f} dBTP"
            f"  off {off[-1]:.4f} {abs(found[0] - filtered[0]):.4f} LU  under {under[-1]:+.3f}"
            f" {under_ffmpeg[-1]:+.3f} dB"
        )
    print(f"     {len(tracks)} tracks; most under FFmpeg's true peak: {max(under_ffmpeg):+.3f} dB")
    for each in coarse:
        print(f"     FFmpeg is off libebur128 on one, and there {each:.4f} LU off ours")
    return report(
        [
            Bound("1000 x off libebur128's I", 1000.0 * max(off), "mLU", 1000.0 * LOUDNESS_LU),
            Bound("1000 x off FFmpeg's I", 1000.0 * max(off_ffmpeg), "mLU", 1000.0 * LOUDNESS_LU),
            Bound("1000 x true peak under theirs", 1000.0 * max(under), "mdB", 1000.0 * UNDER_DB),
        ]
    )


def ours(sound: Samples, rate_hz: int) -> Reading:
    """Our meter."""
    count = sound.shape[1]
    meter = Meter(rate_hz, count, CHANNEL_WEIGHTS.get(count, (1.0,) * count))
    for block in _blocks(sound):
        meter.push(block)
    meter.finish()
    read = meter.read()
    loudness = read.integrated_lufs
    return -np.inf if loudness is None else loudness, read.true_peak_dbtp


class Libebur128:
    """The library as the system has it."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.ebur128_init.restype = ctypes.c_void_p

    def __call__(self, sound: Samples, rate_hz: int) -> Reading:
        """Integrated loudness and true peak."""
        library, count = self._library, sound.shape[1]
        state = ctypes.c_void_p(library.ebur128_init(count, ctypes.c_ulong(rate_hz), _MODES))
        for block in _blocks(sound):
            pointer = block.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            library.ebur128_add_frames_float(state, pointer, ctypes.c_size_t(len(block)))
        loudness, peak, greatest = ctypes.c_double(), ctypes.c_double(), 0.0
        library.ebur128_loudness_global(state, ctypes.byref(loudness))
        for channel in range(count):
            library.ebur128_true_peak(state, channel, ctypes.byref(peak))
            greatest = max(greatest, peak.value)
        library.ebur128_destroy(ctypes.byref(state))
        return loudness.value, 20.0 * np.log10(max(greatest, 1e-10))


def ffmpeg(sound: Samples, rate_hz: int) -> Reading:
    """FFmpeg's ebur128, told by the metadata of its frames: three digits."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[sound.shape[1]]
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=rate_hz, format="flt", layout=layout, time_base=Fraction(1, rate_hz)
    )
    meter, sink = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    told: dict[str, str] = {}
    for number, block in enumerate(_blocks(sound)):
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, number * _BLOCK_FRAMES
        graph.push(frame)
        told |= _told(graph)
    graph.push(None)
    told |= _told(graph)
    peak = max(float(told["lavfi.r128.true_peak"]), 1e-10)
    return float(told["lavfi.r128.I"]), 20.0 * np.log10(peak)


def _told(graph: av.filter.Graph) -> dict[str, str]:
    told: dict[str, str] = {}
    while True:
        try:
            told |= dict(graph.pull().metadata)
        except (av.error.BlockingIOError, av.error.EOFError):
            return told


def _blocks(sound: Samples) -> Iterator[Samples]:
    for start in range(0, len(sound), _BLOCK_FRAMES):
        yield np.ascontiguousarray(sound[start : start + _BLOCK_FRAMES])


def _tracks() -> Iterator[Path]:
    for folder in ("real", "render", "fp"):
        for path in (MATERIAL / folder).glob("*"):
            if path.suffix in (".ogg", ".flac", ".mp3", ".wav", ".opus"):
                yield path


if __name__ == "__main__":
    sys.exit(main())
