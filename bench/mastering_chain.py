"""Mastering beside FFmpeg's two-pass loudnorm and matchering: time, memory, and how each lands.

matchering is GPL and is installed nowhere here: CHORALE_MATCHERING_PYTHON may name the Python of
an environment that has it. Without one its memory is taken from an earlier measurement.

The track is made here: chords, bass, kick, and snare and hats of white noise up to half the
rate, which are hard on true peaks. What came out is judged by a meter that is neither's own:
libebur128 where it is installed, FFmpeg's ebur128 else.
"""

import ctypes
import ctypes.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from bench.children import in_turns
from bench.ratios import Bound, Ratio, report

RATE_HZ = 44100
SECONDS = 240
TARGET_LUFS, CEILING_DBTP = -14.0, -1.0
ROUNDS = 3
MATCHERING_MIB = 1527.0  # of matchering 2.0.6 on a track like this, where it is not at hand
SHORT_SECONDS, LONG_SECONDS = 180, 3 * 3600
LONG_BYTES = 16e9  # what the passes of the long one need on disk

_MATCHERING = """
import json, resource, sys, time
import matchering
started = time.monotonic()
target, reference, out = sys.argv[1:]
matchering.process(target, reference, [matchering.pcm24(out)])
wall = time.monotonic() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"wall_seconds": wall, "peak_mebibytes": peak}))
"""

_MODES = {"I": 5, "true peak": 49}  # of ebur128.h


def main() -> int:
    ffmpeg, matchering = shutil.which("ffmpeg"), os.environ.get("CHORALE_MATCHERING_PYTHON", "")
    with tempfile.TemporaryDirectory() as folder:
        track, ours = Path(folder, "track.wav"), Path(folder, "ours.wav")
        _write_track(track, SECONDS)
        _child(track, ours)  # compiles what is not compiled yet, and is matchering's reference
        makers: dict[str, Callable[[], dict[str, float]]] = {"ours": lambda: _child(track, ours)}
        if ffmpeg:
            makers["loudnorm"] = lambda: _loudnorm(ffmpeg, track, Path(folder, "loudnorm.wav"))
        else:
            print("NOT MEASURED: ffmpeg is not installed (G3)")
        if matchering:
            theirs = Path(folder, "matchering.wav")
            makers["matchering"] = lambda: _printed(
                [matchering, "-c", _MATCHERING, str(track), str(ours), str(theirs)]
            )
        else:
            print("NOT MEASURED: CHORALE_MATCHERING_PYTHON names no environment (G4, wall)")
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in makers}
        for name in in_turns(ROUNDS, list(makers)):
            runs[name].append(makers[name]())
        figures = _ratios(runs)
        figures += _landing("ours", ours, ffmpeg)
        for name in [name for name in makers if name != "ours"]:
            _landing(name, Path(folder, f"{name}.wav"), ffmpeg)
        is_met = report(figures) == 0
        return 0 if report(_growth(Path(folder))) == 0 and is_met else 1


def _ratios(runs: dict[str, list[dict[str, float]]]) -> list[Ratio | Bound]:
    """Wall time and memory of ours over those of what else ran."""
    wall = {name: [run["wall_seconds"] for run in each] for name, each in runs.items()}
    figures: list[Ratio | Bound] = [
        Ratio(f"master / {name}, wall", wall["ours"], wall[name], "s", at_most=goal)
        for name, goal in (("loudnorm", 0.25), ("matchering", 0.4))
        if name in runs
    ]
    memory = [run["peak_mebibytes"] for run in runs["ours"]]
    theirs = [run["peak_mebibytes"] for run in runs.get("matchering", [])] or [MATCHERING_MIB]
    return [*figures, Ratio("peak memory / matchering", memory, theirs, "MiB", at_most=0.30)]


def _landing(name: str, path: Path, ffmpeg: str | None) -> list[Bound]:
    """How far the result is from the target, and over the ceiling, by a third meter."""
    found = _libebur128(path) or (_ebur128(ffmpeg, path) if ffmpeg else None)
    if found is None:
        print("neither libebur128 nor ffmpeg is installed: nobody can judge the result (G3)")
        return []
    meter, loudness, peak = found
    print(f"     {name}: {loudness:.3f} LUFS, {peak:.3f} dBTP by {meter}")
    off, over = abs(loudness - TARGET_LUFS), peak - CEILING_DBTP
    return [
        Bound(f"{name}: 1000 x |I - target|", 1000.0 * off, "mLU", 50.0),
        Bound(f"{name}: 1000 x (true peak - ceiling)", 1000.0 * over, "mdB", 50.0),
    ]


def _growth(folder: Path) -> list[Ratio | Bound]:
    """Peak memory of 3 h over that of 3 min: only the meter's 200 bytes a second may be added."""
    if shutil.disk_usage(folder).free < LONG_BYTES:
        print(f"NOT MEASURED: 3 h need {LONG_BYTES / 1e9:.0f} GB in {folder}")
        return []
    short, long, out = (folder / f"{name}.wav" for name in ("short", "long", "out"))
    _write_track(short, SHORT_SECONDS)
    with soundfile.SoundFile(long, "w", RATE_HZ, 2, "PCM_16") as target:
        sound = soundfile.read(short, dtype="int16")[0]
        for _ in range(LONG_SECONDS // SHORT_SECONDS):
            target.write(sound)
    peaks = [_child(path, out)["peak_mebibytes"] for path in (short, long)]
    return [Ratio("peak memory, 3 h / 3 min", peaks[1:], peaks[:1], "MiB", 1.1)]


def _child(track: Path, out: Path) -> dict[str, float]:
    """Masters in a process of its own, from file to file, and says what it took."""
    return _printed([sys.executable, "-m", "bench.mastering_chain", str(track), str(out)])


def _printed(command: list[str]) -> dict[str, float]:
    """What a process prints as JSON on its last line."""
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(said.splitlines()[-1])
    return figures


def _master(track: Path, out: Path) -> None:
    """In the child: what the service's worker does, with files for object storage."""
    import resource

    from chorale_mastering.brief import Brief, Format
    from chorale_mastering.mastering import master
    from chorale_mastering.plan import MasteringPlan

    started = time.monotonic()
    with soundfile.SoundFile(track) as source:
        sound = Format(source.samplerate, source.channels)
        plan = MasteringPlan(target_loudness_lufs=TARGET_LUFS, ceiling_dbtp=CEILING_DBTP)
        brief = Brief(plan, sound, source.frames)
        blocks = source.blocks(1 << 16, dtype="float32", always_2d=True)
        with (
            master(blocks, brief, lambda _stage, _share: None) as mastered,
            soundfile.SoundFile(out, "w", sound.sample_rate_hz, 2, "PCM_24") as target,
        ):
            for block in mastered.blocks():
                target.write(block)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall = time.monotonic() - started
    print(json.dumps({"wall_seconds": wall, "peak_mebibytes": peak}))


def _loudnorm(ffmpeg: str, track: Path, out: Path) -> dict[str, float]:
    """Two passes, as FFmpeg's documentation shows them."""
    started = time.monotonic()
    graph = f"loudnorm=I={TARGET_LUFS}:TP={CEILING_DBTP}:LRA=11"
    head = [ffmpeg, "-nostdin", "-y", "-hide_banner", "-i", str(track), "-af"]
    first = subprocess.run(
        [*head, f"{graph}:print_format=json", "-f", "null", "-"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    found = json.loads(first[first.rindex("{") : first.rindex("}") + 1])
    names = {"I": "i", "TP": "tp", "LRA": "lra", "thresh": "thresh"}
    measured = ":".join(f"measured_{name}={found['input_' + key]}" for name, key in names.items())
    second = f"{graph}:{measured}:offset={found['target_offset']}:linear=true"
    tail = ["-ar", str(RATE_HZ), "-c:a", "pcm_s24le", str(out)]
    subprocess.run([*head, second, *tail], check=True, capture_output=True)
    return {"wall_seconds": time.monotonic() - started}


def _libebur128(path: Path) -> tuple[str, float, float] | None:
    name = ctypes.util.find_library("ebur128")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    library.ebur128_init.restype = ctypes.c_void_p
    library.ebur128_init.argtypes = [ctypes.c_uint, ctypes.c_ulong, ctypes.c_int]
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    state = ctypes.c_void_p(
        library.ebur128_init(samples.shape[1], rate, _MODES["I"] | _MODES["true peak"])
    )
    pointer = samples.ctypes.data_as(ctypes.c_void_p)
    library.ebur128_add_frames_float(state, pointer, ctypes.c_size_t(len(samples)))
    loudness, peak, greatest = ctypes.c_double(), ctypes.c_double(), 0.0
    library.ebur128_loudness_global(state, ctypes.byref(loudness))
    for channel in range(samples.shape[1]):
        library.ebur128_true_peak(state, ctypes.c_uint(channel), ctypes.byref(peak))
        greatest = max(greatest, peak.value)
    library.ebur128_destroy(ctypes.byref(state))
    return "libebur128", loudness.value, 20.0 * math.log10(greatest)


def _ebur128(ffmpeg: str, path: Path) -> tuple[str, float, float]:
    command = [ffmpeg, "-nostdin", "-hide_banner", "-i", str(path)]
    command += ["-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    summary = said[said.rindex("Summary:") :]
    loudness, peak = (re.search(rf"{key}:\s+(-?[\d.]+)", summary) for key in ("I", "Peak"))
    if loudness is None or peak is None:
        raise RuntimeError("ffmpeg's ebur128 printed no summary")
    return "FFmpeg's ebur128", float(loudness[1]), float(peak[1])


def _write_track(path: Path, seconds: int) -> None:
    """Four bars over and over, at 120 BPM, in pieces: memory stays small."""
    draw = np.random.default_rng(11)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, "PCM_16") as target:
        for bar in range(-(-seconds // 2)):
            target.write(_bar(bar, draw))


def _bar(
    number: int, draw: np.random.Generator
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    frames = 2 * RATE_HZ
    clock = np.arange(frames) / RATE_HZ
    root = (220.0, 174.6, 130.8, 196.0)[number % 4]
    swell = 0.5 + 0.5 * math.sin(number / 9.0) ** 2
    chord = sum(np.sin(2 * np.pi * root * ratio * clock) for ratio in (1.0, 1.26, 1.498, 2.0))
    sound = np.repeat(0.07 * swell * np.asarray(chord)[:, None], 2, axis=1)
    sound[:, 1] = np.roll(sound[:, 1], 150)
    sound += (0.18 * np.sin(np.pi * root / 2 * clock))[:, None]
    beat = clock % 0.5
    sound += (0.5 * np.exp(-9 * beat) * np.sin(2 * np.pi * 50 * beat))[:, None]
    noise = draw.standard_normal((frames, 2))
    sound += 0.12 * noise * np.exp(-40 * (clock % 0.25))[:, None]
    sound += 0.25 * noise * (np.exp(-18 * ((clock + 0.5) % 1.0)))[:, None]
    return np.clip(0.8 * sound, -1.0, 1.0)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _master(Path(sys.argv[1]), Path(sys.argv[2]))
        sys.exit(0)
    sys.exit(main())
