"""What mosaics of real tracks keep of what was meant, heard by our own analysis.

Every pair: tempo within 2 % (octaves allowed) and a compatible key, beats that are heard within
30 ms of the grid both tracks were brought to, joins whose spectral flux is under the 95th
percentile of the material, -14 +- 0.5 LUFS, and what 16 s cost.

`python -m bench.generation_mosaic --first 3 --seed 5 --start-seconds 9` takes other pairs, draws
other bars and takes other stretches of the tracks: what holds shall not hang on the 24 pairs.
"""

import argparse
import itertools
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from chorale_analysis.beats import track_beats
from chorale_analysis.chroma import ChromaListener
from chorale_analysis.key import detect_key
from chorale_analysis.onsets import OnsetListener
from chorale_analysis.rhythm import RhythmSettings
from chorale_analysis.tonality import KeySettings
from chorale_generation.mosaic.arrangement import Arrangement, arranged
from chorale_generation.mosaic.asked import Output, Wishes
from chorale_generation.mosaic.heard import Heard
from chorale_generation.mosaic.keys import compatible
from chorale_generation.mosaic.parts import percussive_share
from chorale_generation.mosaic.section import piece
from chorale_generation.mosaic.spectra import Samples
from chorale_mastering.meter import Meter

from bench.ratios import Bound, report

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "testdata"
RATE_HZ, SECONDS = 24000, 16.0
_HEARD_RATE_HZ = 22050
_LEAST_SECONDS = 10.0


@dataclass(frozen=True)
class Track:
    """A track of the material, 16 s of it."""

    name: str
    sound: Samples
    heard: Heard


@dataclass(frozen=True)
class Figures:
    """What is found of one mosaic."""

    is_in_tempo: bool
    is_in_key: bool
    off_lufs: float
    beat_errors: npt.NDArray[np.float64]
    join_shares: list[float]  # of the 95th percentile of the flux
    cpu_seconds: float
    wall_seconds: float


def main() -> int:
    """Makes a mosaic of every pair; 1 where a goal is missed."""
    asked = _asked()
    tracks = [
        track for path in _paths() if (track := _track(path, asked.start_seconds)) is not None
    ]
    if not tracks:
        print(f"NOT MEASURED: the test material at {MATERIAL} is absent")
        return 0
    pairs = list(itertools.combinations(tracks, 2))
    stride = max(1, -(-len(pairs) // asked.pairs))
    pairs = pairs[asked.first % stride :: stride]
    figures = []
    for one, other in pairs:
        found = _measured(one, other, asked.seed)
        figures.append(found)
        worst = 1000.0 * found.beat_errors.max(initial=0.0)
        print(
            f"     {one.name[:24]:24} + {other.name[:24]:24} tempo {found.is_in_tempo:d}"
            f" key {found.is_in_key:d} {found.off_lufs:+.2f} LU  worst beat {worst:4.0f} ms"
            f"  join {max(found.join_shares, default=0.0):.2f}  {found.cpu_seconds:.1f} s",
            flush=True,
        )
    return report(_bounds(figures))


def _asked() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description="What mosaics keep of what was meant.")
    asked.add_argument("--pairs", type=int, default=24, help="at most, evenly among all")
    asked.add_argument("--first", type=int, default=0, help="the pair to begin with")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--start-seconds", type=float, default=0.0, help="of every track")
    return asked.parse_args()


def _bounds(figures: list[Figures]) -> list[Bound]:
    count = len(figures)
    errors = np.concatenate([each.beat_errors for each in figures])
    joins = [share for each in figures for share in each.join_shares]
    missed = 100.0 * sum(not (each.is_in_tempo and each.is_in_key) for each in figures) / count
    return [
        Bound("not within 2 % of tempo, or key off", missed, "%", 5.0),
        Bound("of them off the tempo", _percent(not each.is_in_tempo for each in figures), "%", 5),
        Bound("of them off the key", _percent(not each.is_in_key for each in figures), "%", 5.0),
        Bound("beats heard over 30 ms off", _percent(errors > 0.030), "%", 5.0),
        Bound("beat error, median", 1000.0 * float(np.median(errors)), "ms", 30.0),
        Bound("joins over the 95th percentile", _percent(share > 1.0 for share in joins), "%", 0.0),
        Bound("1000 x most off -14 LUFS", 1000 * max(abs(f.off_lufs) for f in figures), "mLU", 500),
        Bound("CPU of 16 s, worst", max(each.cpu_seconds for each in figures), "s", 8.0),
        Bound("wall of 16 s, worst", max(each.wall_seconds for each in figures), "s", 8.0),
    ]


def _percent(hits: "object") -> float:
    return 100.0 * float(np.mean(list(hits)))  # type: ignore[call-overload]  # any iterable


def _paths() -> list[Path]:
    kept = [*MATERIAL.glob("render/*.ogg"), *MATERIAL.glob("real/*.ogg")]
    return sorted(path for path in kept if ".stem" not in path.name)


def _track(path: Path, start_seconds: float) -> Track | None:
    """A track with a beat and a key; None for what analysis hears none in surely."""
    frames, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    frames = frames[round(start_seconds * rate_hz) :]
    if len(frames) < _LEAST_SECONDS * rate_hz:
        return None
    mono = frames[: round(SECONDS * rate_hz)].mean(axis=1)
    sound = soxr.resample(mono, rate_hz, RATE_HZ)[:, None]
    heard = _heard(sound)
    is_musical = heard.has_beats and heard.sure_key
    return Track(path.stem, sound, heard) if is_musical else None


def _heard(sound: Samples) -> Heard:
    mono = soxr.resample(sound[:, 0], RATE_HZ, _HEARD_RATE_HZ)
    seconds = len(mono) / _HEARD_RATE_HZ
    onsets, chroma = OnsetListener(), ChromaListener()
    onsets.push(mono)
    chroma.push(mono)
    rhythm = track_beats(onsets.finish(), seconds, RhythmSettings())
    key = detect_key(chroma.finish(), seconds, KeySettings())
    return Heard(
        seconds,
        tuple(beat.seconds for beat in rhythm.beats),
        tuple(beat.strength for beat in rhythm.beats),
        rhythm.bpm,
        key.key,
        rhythm.bpm_confidence,
        key.confidence,
        percussive_share(sound, RATE_HZ),
    )


def _measured(one: Track, other: Track, seed: int) -> Figures:
    output = Output(frame_count=round(SECONDS * RATE_HZ), sample_rate_hz=RATE_HZ)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    arrangement = arranged((one.heard, other.heard), Wishes(), SECONDS, seed)
    made, joins = _made(arrangement, (one.sound, other.sound), output, seed)
    cpu, wall = time.process_time() - cpu_begun, time.perf_counter() - begun
    heard = _heard(made)
    return Figures(
        is_in_tempo=_is_in_tempo(heard.bpm, arrangement.bpm),
        is_in_key=bool(heard.key) and compatible(heard.key, arrangement.shifts.key),
        off_lufs=_lufs(made) - output.loudness_lufs,
        beat_errors=_beat_errors(heard, arrangement.bpm),
        join_shares=_joins(made, joins),
        cpu_seconds=cpu,
        wall_seconds=wall,
    )


def _made(
    arrangement: Arrangement, sounds: tuple[Samples, Samples], output: Output, seed: int
) -> tuple[Samples, list[slice]]:
    def read(track: int, start_seconds: float, end_seconds: float) -> Samples:
        count = round((end_seconds - start_seconds) * RATE_HZ)
        first = round(start_seconds * RATE_HZ)
        taken = sounds[track][max(0, first) : max(0, first + count)][:count]
        before = min(count, max(0, -first))
        return np.pad(taken, ((before, max(0, count - before - len(taken))), (0, 0)))[:count]

    tail, parts, joins = np.zeros((0, 1), np.float32), [], []
    for number in range(len(arrangement.sections)):
        made = piece(arrangement, number, read, output, tail, seed)
        parts.append(made.frames)
        tail = made.tail
        joins.append(made.join)
    return np.concatenate(parts), joins[1:]


def _is_in_tempo(found_bpm: float, wanted_bpm: float) -> bool:
    if found_bpm <= 0.0:
        return False
    ratio = found_bpm / wanted_bpm
    return abs(ratio / 2.0 ** round(math.log2(ratio)) - 1.0) <= 0.02


def _beat_errors(heard: Heard, bpm: float) -> npt.NDArray[np.float64]:
    """How far every beat that is heard is from the grid, or from its halves at twice the pace."""
    beats = np.asarray(heard.beats_seconds)
    step = 60.0 / bpm
    if heard.bpm > 1.4 * bpm:
        step /= 2.0
    errors: npt.NDArray[np.float64] = np.abs(beats - step * np.round(beats / step))
    return errors


def _joins(made: Samples, joins: list[slice]) -> list[float]:
    """Greatest flux of each crossfade, as a share of the 95th percentile of all flux."""
    hop, length = RATE_HZ // 200, 480
    windows = np.lib.stride_tricks.sliding_window_view(made[:, 0], length)[::hop]
    spectra = np.abs(np.fft.rfft(windows * np.hanning(length), axis=1))
    flux = np.maximum(0.0, spectra[4:] - spectra[:-4]).sum(axis=1)  # of windows side by side
    limit = float(np.percentile(flux, 95))
    shares = []
    for join in joins:
        # Windows whose middle lies in the crossfade, against those that end before them.
        places = np.arange(len(flux)) * hop + 4 * hop + length // 2
        inside = (places >= join.start) & (places <= join.stop)
        shares.append(float(flux[inside].max()) / limit)
    return shares


def _lufs(made: Samples) -> float:
    meter = Meter(RATE_HZ, 1)
    meter.push(made)
    meter.finish()
    loudness = meter.read().integrated_lufs
    return -70.0 if loudness is None else loudness


if __name__ == "__main__":
    sys.exit(main())
