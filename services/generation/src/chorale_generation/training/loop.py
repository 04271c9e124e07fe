"""The loop that all training runs in: laps, between which everything lies in one file.

Nothing that is drawn depends on what was drawn before, only on the seed and the step. So training
that is killed after any lap and goes on elsewhere makes the same model, bit for bit.
"""

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from chorale_generation.training.asked import Lap, Plan, Point

_GRADIENT_MOST = 1.0
_BETAS = (0.5, 0.9)


class Lesson(Protocol):
    """What is learned."""

    example_count: int

    @property
    def model(self) -> nn.Module:
        """What learns."""

    def loss(self, examples: torch.Tensor, step: int, /) -> torch.Tensor:
        """The loss on examples, by their numbers."""

    def validation_loss(self, step: int, /) -> float:
        """The loss on what was kept back."""

    def counts(self, step: int, /) -> bool:
        """Whether the model is one that could be kept after so many steps."""


@dataclass
class Standing:
    """Where training stands."""

    step: int = 0
    summed: float = 0.0  # losses of this epoch
    best_loss: float = math.inf
    stale_epochs: int = 0
    seconds: float = 0.0
    ended_by: str = ""


def device() -> torch.device:
    """The accelerator of this process, if it may see one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learn(lesson: Lesson, plan: Plan, path: str, seconds: float) -> Lap:
    """Trains for about so many seconds, at least one step, from the file to the file."""
    optimizer = torch.optim.Adam(
        lesson.model.parameters(), lr=plan.learning_rate, betas=_BETAS, foreach=False
    )
    standing, best = _restored(lesson.model, optimizer, path)
    batches = math.ceil(lesson.example_count / plan.batch_size)
    points: list[Point] = []
    step_count, begun = batches * plan.epochs, time.monotonic()
    spent = standing.seconds
    while not standing.ended_by:
        loss = _step(lesson, plan, optimizer, standing.step, batches)
        standing.step += 1
        standing.summed += loss
        standing.seconds = spent + time.monotonic() - begun
        is_whole = standing.step % batches == 0
        is_late = standing.seconds >= plan.limit_seconds
        if is_whole or is_late:
            best = _validated(lesson, plan, standing, batches, points, best)
        if standing.step >= step_count:
            standing.ended_by = standing.ended_by or "epochs"
        if time.monotonic() - begun >= seconds:
            break
    if not points:
        points.append(_point(standing, plan, batches, 0.0))
    _save(path, lesson.model, optimizer, best, standing)
    return Lap(tuple(points), standing.step, step_count, standing.ended_by)


def best_weights(path: str) -> dict[str, torch.Tensor]:
    """The best model so far; what there is where none was validated."""
    state = _load(path)
    weights: dict[str, torch.Tensor] = state["best"] or state["weights"]
    return weights


def _step(
    lesson: Lesson, plan: Plan, optimizer: torch.optim.Optimizer, step: int, batches: int
) -> float:
    epoch, place = divmod(step, batches)
    order = torch.randperm(lesson.example_count, generator=_drawn(plan.seed, epoch))
    examples = order[place * plan.batch_size : (place + 1) * plan.batch_size]
    torch.manual_seed(_number(plan.seed, step + 1))  # for what a quantiser draws
    lesson.model.train()
    optimizer.zero_grad(set_to_none=True)
    where = device().type
    is_mixed = plan.mixed_precision and where == "cuda"
    with torch.autocast(where, torch.bfloat16, enabled=is_mixed):
        loss = lesson.loss(examples, step)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(lesson.model.parameters(), _GRADIENT_MOST, foreach=False)
    optimizer.step()
    return float(loss.detach())


def _validated(
    lesson: Lesson,
    plan: Plan,
    standing: Standing,
    batches: int,
    points: list[Point],
    best: dict[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Measures on what was kept back; the best model from now on."""
    lesson.model.eval()
    with torch.inference_mode():
        loss = lesson.validation_loss(standing.step)
    points.append(_point(standing, plan, batches, loss))
    standing.summed = 0.0
    if standing.seconds >= plan.limit_seconds:
        standing.ended_by = "time"
    if not lesson.counts(standing.step):
        return best
    if loss < standing.best_loss:
        standing.best_loss, standing.stale_epochs = loss, 0
        return {name: value.clone() for name, value in lesson.model.state_dict().items()}
    standing.stale_epochs += 1
    if standing.stale_epochs >= plan.patience_epochs:
        standing.ended_by = standing.ended_by or "early_stop"
    return best


def _point(standing: Standing, plan: Plan, batches: int, validation_loss: float) -> Point:
    place = standing.step % batches or batches
    return Point(
        standing.step,
        standing.step / batches,
        standing.summed / place,
        validation_loss,
        plan.learning_rate,
    )


def _number(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % (1 << 63)


def _drawn(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(_number(seed, -epoch - 1))


def _restored(
    model: nn.Module, optimizer: torch.optim.Optimizer, path: str
) -> tuple[Standing, dict[str, torch.Tensor]]:
    if not Path(path).exists():
        return Standing(), {}
    state = _load(path)
    model.load_state_dict(state["weights"])
    optimizer.load_state_dict(state["optimizer"])
    return Standing(**state["standing"]), state["best"]


def _load(path: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _save(
    path: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, torch.Tensor],
    standing: Standing,
) -> None:
    """Whole or not at all: a kill in the middle leaves the file as it was."""
    state = {
        "weights": model.state_dict(),
        "best": best,
        "optimizer": optimizer.state_dict(),
        "standing": asdict(standing),
    }
    torch.save(state, f"{path}.new")
    Path(f"{path}.new").replace(path)
