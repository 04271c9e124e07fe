"""What listening costs: everything at once beside naive pipelines, and beside madmom.

    python -m bench.analysis_speed [--seconds 240]

CPU seconds of one process on one thread, in turns. A naive pipeline opens the file again with
`librosa.load` for each of five features; `chorale` hears beats, bars, key, chords and sections of
one decoded sound. Exits 1 when a goal is missed.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from chorale_analysis.harmony import ChordSettings
from chorale_analysis.rhythm import RhythmSettings
from chorale_analysis.structure import StructureSettings
from chorale_analysis.together import Company
from chorale_analysis.tonality import KeySettings
from chorale_analysis.wishes import Settings

from bench.sounds import RATE_HZ, music

ALL: dict[str, Settings] = {
    "beats": RhythmSettings(),
    "key": KeySettings(),
    "chords": ChordSettings(),
    "structure": StructureSettings(),
}
ROUNDS = 3
NAIVE_MOST, REAL_TIME_LEAST, MADMOM_MOST = 0.30, 40.0, 0.2
MADMOM_SECONDS = 20.0  # it costs a seventh of its sound


def listened(mono: "np.ndarray[tuple[int], np.dtype[np.float32]]", engine: str,
             wishes: dict[str, Settings]) -> None:  # fmt: skip
    """Hears everything in a sound at 44.1 kHz, as a worker does."""
    company = Company(wishes, dict.fromkeys(wishes, engine))
    for listener in company.listeners:
        sound = soxr.resample(mono, RATE_HZ, listener.rate_hz, "HQ")
        for start in range(0, len(sound), 1 << 16):
            listener.push(sound[start : start + (1 << 16)])
    company.find(len(mono) / RATE_HZ)


def decoded(path: Path) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """One decode to mono."""
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    mono: np.ndarray[tuple[int], np.dtype[np.float32]] = samples @ np.full(
        samples.shape[1], 1.0 / samples.shape[1], np.float32
    )
    return mono


def naive(path: Path) -> None:
    """Beats, key, chords, sections and level, each from the file."""
    import librosa

    sound, rate = librosa.load(path)
    librosa.beat.beat_track(y=sound, sr=rate)
    for _ in ("key", "chords"):
        sound, rate = librosa.load(path)
        librosa.feature.chroma_cqt(y=sound, sr=rate)
    sound, rate = librosa.load(path)
    features = np.vstack(
        [librosa.feature.chroma_stft(y=sound, sr=rate), librosa.feature.mfcc(y=sound, sr=rate)]
    )
    librosa.segment.agglomerative(features[:, ::20], 12)
    sound, rate = librosa.load(path)
    librosa.feature.rms(y=sound)


def cost(work: Callable[[], None], rounds: int = ROUNDS) -> float:
    """The median CPU seconds of some work, once it is warm."""
    work()
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return statistics.median(spent)


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=240.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.mp3"
        soundfile.write(path, music(seconds), RATE_HZ, format="MP3")
        mono = decoded(path)
        at_once = cost(lambda: listened(decoded(path), "chorale", ALL))
        hearing = cost(lambda: listened(mono, "chorale", ALL))
        pipelines = cost(lambda: naive(path), 1)
    short = mono[: round(MADMOM_SECONDS * RATE_HZ)]
    beats: dict[str, Settings] = {"beats": RhythmSettings()}
    ours = cost(lambda: listened(short, "chorale", beats))
    theirs = cost(lambda: listened(short, "madmom", beats), 1)
    rows = [
        ("all features, CPU / five naive pipelines", at_once / pipelines, NAIVE_MOST, False),
        ("all features after decoding, times real time", seconds / hearing, REAL_TIME_LEAST, True),
        ("beats and bars, CPU / madmom RNN+DBN", ours / theirs, MADMOM_MOST, False),
    ]
    missed = 0
    for what, value, goal, more in rows:
        is_met = value >= goal if more else value <= goal
        missed += not is_met
        print(f"{what:50}{value:9.3f}  goal {'>=' if more else '<='} {goal}"
              f"{'' if is_met else '  MISSED'}")  # fmt: skip
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
