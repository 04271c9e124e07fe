"""What needs an accelerator: `make gpu` runs this, and everything else skips it aloud."""

from pathlib import Path

import numpy as np
import pytest
import torch
from chorale_generation.cascade import codec, making, network
from chorale_generation.cascade.asked import CascadeWishes, ModelPath
from chorale_generation.cascade.ladder import Rung
from chorale_generation.training import teaching
from chorale_generation.training.asked import CascadeStart, CascadeTeaching, Plan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine"),
]


def test_the_gpu_gives_what_the_cpu_gives() -> None:
    """Encodings and sound in fp32 differ by less than 1e-3, in half precision by less than .05."""
    torch.manual_seed(1)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    model, cascade = codec.untrained(), network.Cascade(network.Shape(stage_count=1)).eval()
    steps = torch.randn(2, codec.DIMENSION, 150)
    with torch.inference_mode():
        expected = model.decoder(cascade(steps[:1], steps[1:]))
        model, cascade, there = model.cuda(), cascade.cuda(), steps.cuda()
        found = model.decoder(cascade(there[:1], there[1:])).cpu()
        with torch.autocast("cuda", torch.float16):
            half = model.decoder(cascade(there[:1], there[1:])).float().cpu()
    assert torch.allclose(found, expected, atol=1e-3)
    assert torch.allclose(half, expected, atol=0.05)


def test_batches_on_the_gpu_give_what_single_runs_give() -> None:
    """Eight at once and one after another differ by less than 1e-4."""
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    cascade = network.Cascade(network.Shape(stage_count=2)).eval().cuda()
    one, other = torch.randn(2, 8, codec.DIMENSION, 300, device="cuda")
    with torch.inference_mode():
        together = cascade(one, other)
        apart = torch.cat([cascade(one[at : at + 1], other[at : at + 1]) for at in range(8)])
    assert torch.allclose(together, apart, atol=1e-4)


@pytest.fixture
def models() -> making.Models:
    """A narrow codec with drawn codebooks and a cascade that changes what it is given."""
    torch.manual_seed(1)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    encodec = codec.untrained(codec.Shape(filters=8, codebook_count=8))
    cascade = network.Cascade(network.Shape(stage_count=2)).eval()
    for model, ending, deviation in (
        (encodec, "_codebook.embed", 1.0),
        (cascade, "leaving.weight", 0.02),
    ):
        for name, value in model.state_dict().items():
            if name.endswith(ending):
                value.normal_(std=deviation)
    return making.Models(encodec, cascade)


def pair(seconds: float, seed: int) -> making.Pair:
    """Two tracks of quiet noise."""
    draws = np.random.default_rng(seed)
    shape = (2, round(seconds * codec.RATE_HZ))
    one, other = (0.1 * draws.standard_normal(shape)).astype(np.float32)
    return making.Pair(one, other, CascadeWishes())


def test_requests_together_give_what_they_give_alone(models: making.Models) -> None:
    """Requests of several lengths, eight windows at once: each is what it is alone, within 1e-4."""
    pairs = [pair(seconds, seed) for seed, seconds in enumerate((16.0, 2.0, 16.0, 5.0, 20.0))]
    together = making.make(models, pairs, Rung(width=8, device="cuda"), lambda *_: None)
    for each, made in zip(pairs, together, strict=True):
        (alone,) = making.make(models, [each], Rung(device="cuda"), lambda *_: None)
        assert (made.concessions, made.rung.device) == ((), "cuda")
        assert np.abs(alone.sound - made.sound).max() < 1e-4


def test_a_gpu_without_room_gives_way_step_by_step(models: making.Models) -> None:
    """Under a cap on its memory the batch narrows and windows shorten, or the CPU does it; each
    step is said, and without the cap nothing gives."""
    asked = [pair(16.0, seed) for seed in range(4)]
    making.make(models, [pair(1.0, 1)], Rung(device="cuda"), lambda *_: None)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    spare = torch.cuda.memory_reserved() + (64 << 20)
    try:
        torch.cuda.set_per_process_memory_fraction(spare / total)
        capped = making.make(models, asked, Rung(width=4, device="cuda"), lambda *_: None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    ladder, rung = [], Rung(width=4, device="cuda")
    while (below := rung.below) is not None:
        ladder.append(rung.step_to(below))
        rung = below
    gave = list(capped[0].concessions)
    assert gave
    assert gave == ladder[: len(gave)]
    assert [len(made.sound) for made in capped] == [len(each.one) for each in asked]
    free = making.make(models, asked, Rung(width=4, device="cuda"), lambda *_: None)
    assert (free[0].concessions, free[0].rung.device) == ((), "cuda")


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_a_cascade_learns_on_the_gpu(tmp_path: Path, mixed_precision: bool) -> None:
    """In full and in mixed precision it falls below the loss of returning the first track."""
    draws = np.random.default_rng(1)
    for name, count in (("learning.npy", 64), ("validation.npy", 16)):
        found = draws.standard_normal((count, 3, codec.DIMENSION, 75)).astype(np.float32)
        found[:, 2] = 0.5 * (found[:, 0] + found[:, 1])
        np.save(tmp_path / name, found)
    plan = Plan(seed=1, epochs=20, mixed_precision=mixed_precision, learning_rate=1e-3)
    asked = CascadeTeaching(str(tmp_path), plan, CascadeStart(ModelPath("", "", "")))
    state = str(tmp_path / "state")
    while not teaching.lap(asked, state, 60.0).ended_by:
        pass
    done = teaching.finish(asked, state, str(tmp_path / "m"), "models/x")
    assert done.metrics["validation_loss"] < 0.8 * done.metrics["baseline_loss"]
