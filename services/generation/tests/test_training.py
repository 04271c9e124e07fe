"""Training without a service: what is learned, and that a kill changes nothing."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from chorale.generation.v1 import training_pb2
from chorale_generation.cascade import codec
from chorale_generation.cascade.asked import ModelPath
from chorale_generation.checkpoints import NotTrained
from chorale_generation.messages import training as messages
from chorale_generation.refusals import DatasetTooSmall
from chorale_generation.settings import Settings
from chorale_generation.store.trainings import Told
from chorale_generation.training import cascade_lesson, teaching
from chorale_generation.training.asked import (
    CascadeStart,
    CascadeTeaching,
    CodecTeaching,
    CodecWishes,
    Corpus,
    Plan,
    Point,
    Teaching,
)
from chorale_runtime.settings import SettingsRefused

TINY = CodecWishes(filters=2, codebook_size=16, bandwidth_kbps=1.5, warm_up_steps=1)
START = CascadeStart(ModelPath("", "", ""))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """As in a worker process."""
    torch.set_num_threads(1)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Three seconds to learn from, two to validate by."""
    moments = np.arange(3 * codec.RATE_HZ) / codec.RATE_HZ
    sound = (0.3 * np.sin(2 * np.pi * 300 * moments) * (moments % 0.5)).astype("<f4")
    for name, count in (("learning", 3), ("validation", 2)):
        sound[: count * codec.RATE_HZ].tofile(tmp_path / name)
    return Corpus(str(tmp_path / "learning"), str(tmp_path / "validation"))


@pytest.fixture
def pairs(tmp_path: Path) -> CascadeTeaching:
    """Pairs of which the first is wanted, moved a little: what a cascade learns soon."""
    draws = np.random.default_rng(1)
    for name, count in (("learning.npy", 8), ("validation.npy", 2)):
        found = draws.standard_normal((count, 3, codec.DIMENSION, 10)).astype(np.float32)
        found[:, 2] = found[:, 0] + 0.3
        np.save(tmp_path / name, found)
    plan = Plan(seed=1, epochs=6, batch_size=4, learning_rate=0.003)
    return CascadeTeaching(str(tmp_path), plan, START)


def lap_by_lap(asked: Teaching, path: Path, seconds: float) -> str:
    """Trains to the end in laps; why it ended."""
    while not (lap := teaching.lap(asked, str(path), seconds)).ended_by:
        pass
    return lap.ended_by


def test_a_cascade_learns_what_is_wanted(pairs: CascadeTeaching, tmp_path: Path) -> None:
    """It falls below the loss of returning the first track, and ends after all passes."""
    assert lap_by_lap(pairs, tmp_path / "state", 60.0) == "epochs"
    done = teaching.finish(pairs, str(tmp_path / "state"), str(tmp_path / "m"), "models/x")
    assert done.metrics["validation_loss"] < 0.9 * done.metrics["baseline_loss"]


def test_a_codec_is_the_same_in_one_lap_and_in_many(corpus: Corpus, tmp_path: Path) -> None:
    """State that is written and read after every step makes the same bytes as none."""
    asked = CodecTeaching(corpus, Plan(seed=2, epochs=3, batch_size=3), TINY)
    digests = set()
    for name, seconds in (("one", 60.0), ("many", 0.0)):
        lap_by_lap(asked, tmp_path / name, seconds)
        done = teaching.finish(asked, str(tmp_path / name), str(tmp_path / "m"), "models/c")
        digests.add(done.sha256)
    assert len(digests) == 1
    assert done.metrics["codebook_usage"] > 0.0


@pytest.mark.slow
def test_training_that_is_killed_ends_with_the_same_model(
    pairs: CascadeTeaching, tmp_path: Path
) -> None:
    """A process killed by signal 9 at any moment leaves a state from which the rest is the same."""
    script = (
        "import pickle, sys, torch; torch.set_num_threads(1)\n"
        "from chorale_generation.training import teaching\n"
        "asked = pickle.load(open(sys.argv[1], 'rb'))\n"
        "while not teaching.lap(asked, sys.argv[2], 0.0).ended_by: pass\n"
    )
    pairs = replace(pairs, plan=replace(pairs.plan, epochs=3))
    state, asked = tmp_path / "killed", tmp_path / "asked"
    asked.write_bytes(pickle.dumps(pairs))
    child = subprocess.Popen([sys.executable, "-c", script, str(asked), str(state)])
    while not state.exists():
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    lap_by_lap(pairs, state, 60.0)
    lap_by_lap(pairs, tmp_path / "whole", 60.0)
    ends = [
        teaching.finish(pairs, str(path), str(tmp_path / "m"), "models/x").sha256
        for path in (state, tmp_path / "whole")
    ]
    assert ends[0] == ends[1]


def test_training_stops_when_it_gets_no_better(pairs: CascadeTeaching, tmp_path: Path) -> None:
    """Steps that are far too large end it early, with the best model and not the last."""
    plan = Plan(seed=1, epochs=100, batch_size=4, learning_rate=0.9, patience_epochs=2)
    asked = CascadeTeaching(pairs.directory, plan, START)
    assert lap_by_lap(asked, tmp_path / "state", 60.0) == "early_stop"
    late = CascadeTeaching(pairs.directory, Plan(seed=1, limit_seconds=0.0), START)
    assert lap_by_lap(late, tmp_path / "late", 60.0) == "time"


def test_too_little_to_learn_from_is_said(corpus: Corpus, tmp_path: Path) -> None:
    """A codec that time ended before its quantiser joined is no codec; nor is there one of 1 s."""
    asked = CodecTeaching(corpus, Plan(seed=1, limit_seconds=0.0), TINY)
    lap_by_lap(asked, tmp_path / "state", 60.0)
    with pytest.raises(NotTrained):
        teaching.finish(asked, str(tmp_path / "state"), str(tmp_path / "m"), "models/c")
    np.zeros(codec.RATE_HZ, "<f4").tofile(corpus.learning_path)
    with pytest.raises(DatasetTooSmall):
        teaching.lap(asked, str(tmp_path / "none"), 0.0)


def test_what_is_wanted_has_strokes_of_one_and_tones_of_the_other() -> None:
    """A click train and a tone give the click train over the tone; swapped, next to nothing."""
    moments = np.arange(codec.RATE_HZ) / codec.RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 440 * moments)).astype(np.float32)
    clicks = np.zeros(codec.RATE_HZ, np.float32)
    clicks[::6000] = 0.9
    both = cascade_lesson.wanted(clicks, tone)
    swapped = cascade_lesson.wanted(tone, clicks)
    alike = np.corrcoef(both, clicks + tone)[0, 1]
    assert alike > 0.8
    assert np.corrcoef(swapped, clicks + tone)[0, 1] < 0.5 * alike


@pytest.mark.parametrize(("warm_up_steps", "is_warned"), [(0.0, True), (2.0, False)])
def test_a_codec_is_not_measured_by_its_warm_up(warm_up_steps: float, is_warned: bool) -> None:
    """Losses are lower without a quantiser; that they rise when it joins is not by heart."""
    now = datetime.now(UTC)
    losses = enumerate((0.2, 0.1, 0.5, 0.4), 1)
    curve = [Told(Point(step, step, loss, loss, 1e-3), False, "", now) for step, loss in losses]
    metrics = {"validated_apart": 1.0, "validation_loss": 0.4, "warm_up_steps": warm_up_steps}
    told = {"ended_by": "epochs", "seed": "1", "resumed_count": "0"}
    warnings = messages.report(curve, told, metrics).warnings
    assert bool(warnings) == is_warned


def test_codecs_that_could_not_be_loaded_are_refused_at_the_start() -> None:
    """An odd count of filters, and codebooks whose size is no power of two, are both named."""
    with pytest.raises(SettingsRefused) as caught:
        Settings(train_codec_filters=7, train_codec_entries=1000)
    assert "FILTERS is 7" in str(caught.value)
    assert "ENTRIES is 1000" in str(caught.value)


def test_what_is_told_of_checkpoints_is_what_is_done() -> None:
    """Minutes that are asked hold up to the service's own limit."""
    settings = training_pb2.TrainingSettings(checkpoint_minutes=60)
    assert messages.checkpoint_seconds(settings, 90.0) == 90.0
    assert messages.plan_said(Plan(seed=1), 90.0)["settings.checkpoint_minutes"] == "1.5"
