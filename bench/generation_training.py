"""Whether training learns: two minutes of pairs of synthetic songs, and a cascade.

    python -m bench.generation_training [--epochs 5]

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
from chorale_generation.cascade import codec
from chorale_generation.cascade.asked import ModelPath
from chorale_generation.cascade.codec import RATE_HZ
from chorale_generation.training import teaching
from chorale_generation.training.asked import (
    CascadeStart,
    CascadeTeaching,
    Corpus,
    Plan,
)
from chorale_generation.training.cascade_lesson import wanted

from bench.ratios import Bound, report
from bench.sounds import RATE_HZ as MUSIC_HZ
from bench.sounds import music

_SONG_SECONDS, _SONGS, _HELD_BACK = 12.0, 10, 2
_SEED, _WINDOW_FRAMES = 1, 4 * RATE_HZ


def main() -> int:
    """Trains; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5, help="passes of the cascade")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        _pairs(_corpus(directory), directory)
        plan = Plan(seed=_SEED, epochs=asked.epochs, batch_size=4, learning_rate=1e-3)
        cascade = CascadeTeaching(directory, plan, CascadeStart(ModelPath("", "", "")))
        figures = _trained(cascade, directory, "cascade")
        share = 100.0 * figures["validation_loss"] / figures["baseline_loss"]
        return report(
            [
                Bound("validation loss, of copying track 1", share, "%", 99.9),
                Bound("models that differ when cut into laps", _cut(cascade, directory), "", 0.0),
            ]
        )


def _pairs(corpus: Corpus, directory: str) -> None:
    """Encodings by an encoder of drawn weights, without a quantiser, which would need training."""
    torch.manual_seed(_SEED)
    model = codec.untrained(codec.Shape(filters=8))
    for path, name in (
        (corpus.learning_path, "learning.npy"),
        (corpus.validation_path, "validation.npy"),
    ):
        songs = np.fromfile(path, "<f4").reshape(-1, _WINDOW_FRAMES)
        found = []
        for place, one in enumerate(songs):
            other = songs[place - 1]
            sounds = torch.from_numpy(np.stack([one, other, wanted(one, other)])[:, None])
            with torch.inference_mode():
                found.append(model.encoder(sounds).numpy())
        np.save(Path(directory, name), np.stack(found))
    Path(directory, "apart").touch()


def _corpus(directory: str) -> Corpus:
    paths = [str(Path(directory, name)) for name in ("learning", "validation")]
    for path, numbers in zip(paths, (range(_HELD_BACK, _SONGS), range(_HELD_BACK)), strict=True):
        songs = [music(_SONG_SECONDS, seed=number)[:, 0] for number in numbers]
        sound = np.concatenate([soxr.resample(song, MUSIC_HZ, RATE_HZ) for song in songs])
        sound.astype("<f4").tofile(path)
    return Corpus(*paths)


def _trained(asked: CascadeTeaching, directory: str, name: str) -> dict[str, float]:
    state, path, begun = str(Path(directory, f"{name}.state")), Path(directory, name), time.time()
    while True:
        lap = teaching.lap(asked, state, 5.0)
        for point in lap.points:
            if point.validation_loss:
                print(
                    f"     {name} epoch {point.epoch:4.1f} loss {point.training_loss:.4g}"
                    f" kept back {point.validation_loss:.4g}",
                    flush=True,
                )
        if lap.ended_by:
            break
    done = teaching.finish(asked, state, str(path), f"models/{name}")
    told = ", ".join(f"{key} {value:.4g}" for key, value in done.metrics.items())
    print(f"     {name}: {lap.step} steps, {time.time() - begun:.0f} s: {told}", flush=True)
    return done.metrics


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
