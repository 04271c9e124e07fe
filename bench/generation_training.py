"""Whether training learns: two minutes of synthetic songs, a codec of our own, a cascade.

    python -m bench.generation_training [--epochs 12]

The cascade's loss on songs it never heard must fall below that of returning the first track; the
same training cut into laps of one step must end with the same bytes.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soxr
import torch
from chorale_generation.cascade.asked import ModelPath
from chorale_generation.cascade.codec import RATE_HZ
from chorale_generation.training import teaching
from chorale_generation.training.asked import (
    CascadeStart,
    CascadeTeaching,
    CodecTeaching,
    CodecWishes,
    Corpus,
    Plan,
    Teaching,
)
from chorale_generation.training.cascade_lesson import encode_pairs

from bench.ratios import Bound, report
from bench.sounds import RATE_HZ as MUSIC_HZ
from bench.sounds import music

_SONG_SECONDS, _SONGS, _HELD_BACK = 12.0, 10, 2
_SEED = 1


def main() -> int:
    """Trains both; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12, help="passes of the cascade")
    parser.add_argument("--codec-epochs", type=int, default=3, help="passes of the codec")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        corpus = _corpus(directory)
        wishes = CodecWishes(filters=4, codebook_size=64, bandwidth_kbps=6.0)
        plan = Plan(seed=_SEED, epochs=asked.codec_epochs, batch_size=8, learning_rate=1e-3)
        codec = _trained(CodecTeaching(corpus, plan, wishes), directory, "codec")
        encode_pairs(codec[0], corpus, _SEED, directory, lambda *_: None)
        plan = Plan(seed=_SEED, epochs=asked.epochs, batch_size=4)
        cascade = CascadeTeaching(directory, plan, CascadeStart(codec[0]))
        figures = _trained(cascade, directory, "cascade")[1]
        share = 100.0 * figures["validation_loss"] / figures["baseline_loss"]
        return report(
            [
                Bound("validation loss, of copying track 1", share, "%", 99.9),
                Bound("models that differ when cut into laps", _cut(cascade, directory), "", 0.0),
            ]
        )


def _corpus(directory: str) -> Corpus:
    paths = [str(Path(directory, name)) for name in ("learning", "validation")]
    for path, numbers in zip(paths, (range(_HELD_BACK, _SONGS), range(_HELD_BACK)), strict=True):
        songs = [music(_SONG_SECONDS, seed=number)[:, 0] for number in numbers]
        sound = np.concatenate([soxr.resample(song, MUSIC_HZ, RATE_HZ) for song in songs])
        sound.astype("<f4").tofile(path)
    return Corpus(*paths)


def _trained(asked: Teaching, directory: str, name: str) -> tuple[ModelPath, dict[str, float]]:
    state, path, begun = str(Path(directory, f"{name}.state")), Path(directory, name), time.time()
    while True:
        lap = teaching.lap(asked, state, 5.0)
        for point in lap.points:
            if point.validation_loss:
                print(
                    f"     {name} epoch {point.epoch:4.1f} loss {point.training_loss:.4f}"
                    f" kept back {point.validation_loss:.4f}",
                    flush=True,
                )
        if lap.ended_by:
            break
    done = teaching.finish(asked, state, str(path), f"models/{name}")
    told = ", ".join(f"{key} {value:.4g}" for key, value in done.metrics.items())
    print(f"     {name}: {lap.step} steps, {time.time() - begun:.0f} s: {told}", flush=True)
    return ModelPath(str(path), name, done.sha256), done.metrics


def _cut(cascade: CascadeTeaching, directory: str) -> float:
    """How many of two trainings of two epochs differ: one whole, one cut after every step."""
    plan = Plan(seed=_SEED, epochs=2, batch_size=4)
    asked = CascadeTeaching(cascade.directory, plan, cascade.start)
    digests = []
    for number, seconds in enumerate((3600.0, 0.0)):
        state, path = str(Path(directory, f"cut{number}")), Path(directory, "cut")
        while not teaching.lap(asked, state, seconds).ended_by:
            pass
        teaching.finish(asked, state, str(path), "models/cut")
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return float(digests[0] != digests[1])


if __name__ == "__main__":
    sys.exit(main())
