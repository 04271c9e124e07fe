"""Learns how often a key that is found is right, from music of rhythm_corpus's whose key is known.

    python tools/learn_keys.py FOLDER

Writes `key` of `services/analysis/src/chorale_analysis/learned.json`: the weights of how far the
best key leads the next, of how well it fits, and of neither. Every kind of music counts alike.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
from chorale_analysis import key
from chorale_analysis.chroma import ChromaListener
from chorale_analysis.tonality import KEYS
from learn_rhythm import LEARNED, calibration_error, logistic

_STRENGTH = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    rows, right, kinds = [], [], []
    for path in sorted(parser.parse_args().folder.glob("*.json")):
        truth = json.loads(path.read_text())
        if not truth["key"].endswith((" major", " minor")):
            continue
        listener = ChromaListener()
        listener.push(soundfile.read(path.with_suffix(".flac"), dtype="float32")[0])
        fits = key.correlations(listener.finish().classes.mean(axis=0, keepdims=True))[0]
        found = KEYS[int(np.argmax(fits))]
        rows.append(key.told_by(fits))
        right.append(float(found == truth["key"]))
        kinds.append(truth["kind"])
    counts = np.array([len(kinds) / kinds.count(kind) for kind in kinds])
    counts /= counts.mean()
    features, came_true = np.array(rows), np.array(right)
    weights = logistic(features, came_true, counts, _STRENGTH)
    told = 1.0 / (1.0 + np.exp(-features @ weights[:-1] - weights[-1]))
    error = calibration_error(told, came_true, counts)
    mean = float(np.average(came_true, weights=counts))
    print(f"{len(rows)} pieces, right {mean:.3f}, off by {error:.3f}")
    learned = json.loads(LEARNED.read_text())
    learned["key"] = [float(f"{weight:.4g}") for weight in weights]
    LEARNED.write_text(json.dumps(learned, indent=1) + "\n")


if __name__ == "__main__":
    main()
