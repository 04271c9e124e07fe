"""Learns how often live beats and tempi are right, from music of rhythm_corpus's.

    python tools/learn_live.py FOLDER

Prints the weights that stand in `services/analysis/src/chorale_analysis/live/pulse.py`: of how much
a beat sounds and of nothing; of how much the beats sound, of the octaves that the tempo lies over
100 BPM, and of nothing. Every kind of music counts alike, and in it every piece.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from chorale_analysis.live.pulse import Pulse
from chorale_analysis.live.strength import StrengthListener
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from learn_rhythm import Floats, calibration_error, logistic

_BLOCK = 1102  # 50 ms
_NEAR_SECONDS, _NEAR_TEMPO = 0.07, 0.04
_TEMPO_BPM = 100.0
_STRENGTH = 1.0


def followed(path: Path) -> tuple[Rhythm, list[float]]:
    """What is heard of a piece while it plays, and how much each beat sounds."""
    sound, rate_hz = soundfile.read(path, dtype="float32")
    listener, pulse = StrengthListener(), Pulse(RhythmSettings())
    for start in range(0, len(sound), _BLOCK):
        pulse.push(listener.push(sound[start : start + _BLOCK]))
    pulse.push(listener.finish())
    return pulse.finish(len(sound) / rate_hz), pulse.sounds


@dataclass
class Claims:
    """What is known of beats or tempi, whether each was right, and where it is from."""

    rows: list[list[float]] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)  # of its piece

    def add(self, row: list[float], is_right: bool, kind: str, share: float) -> None:
        """One more."""
        self.rows.append(row)
        self.right.append(float(is_right))
        self.kinds.append(kind)
        self.shares.append(share)

    def told(self, name: str) -> None:
        """Prints weights, how far off they are here, and how far where a kind is held out."""
        rows, right, of = np.array(self.rows), np.array(self.right), np.array(self.kinds)
        weights = np.array(self.shares)
        for kind in set(self.kinds):
            weights[of == kind] /= weights[of == kind].sum()
        weights /= weights.mean()
        held_out = np.zeros(len(of))
        for kind in set(self.kinds):
            out = of == kind
            learned = logistic(rows[~out], right[~out], weights[~out], _STRENGTH)
            held_out[out] = _chances(rows[out], learned)
        found = logistic(rows, right, weights, _STRENGTH)
        here, there = (
            calibration_error(one, right, weights) for one in (_chances(rows, found), held_out)
        )
        print(name, [f"{one:.2f}" for one in found], f"off by {here:.3f}, held out {there:.3f}")


def _chances(rows: Floats, weights: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-rows @ weights[:-1] - weights[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    beats, tempi = Claims(), Claims()
    for path in sorted(parser.parse_args().folder.glob("*.flac")):
        truth = json.loads(path.with_suffix(".json").read_text())
        true = np.array([beat[0] for beat in truth["beats"]])
        rhythm, sounds = followed(path)
        if len(true) < 4 or not rhythm.bpm:
            continue
        kind, count = truth["kind"], len(rhythm.beats)
        ratio = rhythm.bpm * float(np.median(np.diff(true))) / 60.0
        octaves = float(np.log2(rhythm.bpm / _TEMPO_BPM))
        tempi.add([float(np.mean(sounds)), octaves], abs(ratio - 1.0) <= _NEAR_TEMPO, kind, 1.0)
        for beat, sound in zip(rhythm.beats, sounds, strict=False):
            is_right = bool(np.abs(true - beat.seconds).min() <= _NEAR_SECONDS)
            beats.add([sound], is_right, kind, 1.0 / count)
    beats.told("beats")
    tempi.told("tempo")


if __name__ == "__main__":
    main()
