"""Teaches the network that reads pulses: `pulse_network.npz` of analysis.

Every pulse that beat tracking finds in a piece is a lesson, and the true beats are one more: which
of its beats begin bars, and whether it is what people tap to, in bars of so many beats, or too
fast, too slow or something else.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from chorale_analysis import heard_beats
from chorale_analysis.onsets import Onsets
from chorale_analysis.pulse_network import BARS, DILATIONS, KINDS
from torch import nn

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[np.float32]]  # by the names of `pulse_network.Layers`

UNITS, AROUND = 24, 5
NETWORKS, LAPS, BATCH = 4, 20, 32
PACE, DECAY, NOISE, DROPPED = 5e-3, 0.03, 0.35, 0.15
_KINDS_COUNT = 0.7  # what the kind of a pulse counts beside which beats are first
_NEAR_SECONDS = 0.07
_LEAST_BEATS, _LEAST_CUT, _MOST_LEFT_OUT = 12, 32, 7
_UNKNOWN = -1  # of pulses whose kind says nothing: true beats in bars of one or of five


@dataclass(frozen=True)
class Lesson:
    """A pulse and what is true of it."""

    rows: npt.NDArray[np.float32]
    first: npt.NDArray[np.float32]
    kind: int
    knows_first: bool  # whether bars can be told over it
    count: float = 1.0


@dataclass(frozen=True)
class Truth:
    """The beats of a piece, which begin bars, and how many make one."""

    seconds: Floats
    firsts: npt.NDArray[np.bool_]
    length: int
    bpm: float


def lessons(heard: Onsets, truth: Truth, pulses: list[Floats]) -> list[Lesson]:
    """What there is to learn of one piece, whose lessons together count as one.

    Some first beats are left out: scores begin with a bar, what somebody listens to need not.
    """
    chance = np.random.default_rng(len(truth.seconds))
    found = [
        lesson
        for seconds in [truth.seconds, *pulses]
        if len(seconds) >= _LEAST_BEATS + _MOST_LEFT_OUT
        and (lesson := _lesson(heard, truth, seconds[chance.integers(_MOST_LEFT_OUT + 1) :]))
    ]
    return [replace(one, count=(2 if n == 0 else 1) / len(found)) for n, one in enumerate(found)]


def _lesson(heard: Onsets, truth: Truth, seconds: Floats) -> Lesson | None:
    beats = truth.seconds
    inside = seconds[(seconds > beats[0] - 0.1) & (seconds < beats[-1] + 0.1)]
    if len(inside) < _LEAST_BEATS // 2:
        return None
    apart = np.abs(beats[:, None] - seconds[None, :])
    found = float((apart.min(axis=1) < _NEAR_SECONDS).mean())
    right = float((np.abs(beats[:, None] - inside[None, :]).min(axis=0) < _NEAR_SECONDS).mean())
    ratio = 60.0 / float(np.median(np.diff(seconds))) / truth.bpm
    nearest = apart.argmin(axis=0)
    first = truth.firsts[nearest] & (apart.min(axis=0) < _NEAR_SECONDS)
    return Lesson(
        heard_beats.rows(heard, seconds).astype(np.float32),
        first.astype(np.float32),
        _kind(found, right, ratio, truth.length),
        truth.length > 1 and found > 0.8 and right > 0.35 and ratio < 3.2,
    )


def _kind(found: float, right: float, ratio: float, length: int) -> int:
    """Which of `KINDS` a pulse is that finds these shares of beats, right and in all."""
    if found > 0.8 and right > 0.8:
        return BARS.index(length) if length in BARS else _UNKNOWN
    if found > 0.8 and right < 0.65 and ratio > 1.5:
        return KINDS.index("too fast")
    if right > 0.8 and found < 0.65 and ratio < 0.7:
        return KINDS.index("too slow")
    return KINDS.index("other")


class Network(nn.Module):
    """As `pulse_network.Layers`, with what only learning needs."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(numbers, UNITS, AROUND, padding=AROUND // 2)
        self.deeper = nn.ModuleList(
            nn.Conv1d(UNITS, UNITS, 3, padding=apart, dilation=apart) for apart in DILATIONS
        )
        self.drop = nn.Dropout(DROPPED)
        self.first = nn.Conv1d(UNITS, 1, 1)
        self.kinds = nn.Linear(2 * UNITS, len(KINDS))

    def forward(self, rows: torch.Tensor, there: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Odds of beats to be first and scores of kinds, for rows `(pulses, numbers, beats)`."""
        seen = torch.relu(self.enter(self.drop(rows))) * there
        for layer in self.deeper:
            seen = (seen + self.drop(torch.relu(layer(seen)))) * there
        count = there.sum(2)
        mean = seen.sum(2) / count
        spread = torch.sqrt((((seen - mean[:, :, None]) * there) ** 2).sum(2) / count + 1e-5)
        return self.first(seen)[:, 0], self.kinds(self.drop(torch.cat([mean, spread], 1)))


def keep(networks: list[Arrays], path: Path) -> None:
    """Writes the weights of networks as analysis reads them."""
    half: dict[str, Any] = {
        name: np.stack([one[name] for one in networks]).astype(np.float16) for name in networks[0]
    }
    np.savez_compressed(path, **half)


def taught(of: list[Lesson], seed: int) -> Arrays:
    """The weights of a network taught from these."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    network = Network(of[0].rows.shape[1])
    steps = LAPS * -(-len(of) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), PACE, weight_decay=DECAY)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, PACE, steps)
    for _ in range(LAPS):
        for batch in _batches(of, chance):
            loss = _loss(network, batch, chance)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.step()
    return _arrays(network)


def _batches(of: list[Lesson], chance: np.random.Generator) -> list[list[Lesson]]:
    """All lessons in batches of like length, drawn anew, half of them cut shorter."""
    order = sorted(of, key=lambda one: len(one.rows) + chance.normal(0.0, 15.0))
    batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    return [[_cut(one, chance) for one in batches[at]] for at in chance.permutation(len(batches))]


def _cut(one: Lesson, chance: np.random.Generator) -> Lesson:
    whole = len(one.rows)
    if whole <= 1.5 * _LEAST_CUT or chance.random() < 0.5:
        return one
    length = int(chance.integers(_LEAST_CUT, whole))
    start = int(chance.integers(0, whole - length + 1))
    part = slice(start, start + length)
    return replace(one, rows=one.rows[part], first=one.first[part])


def _loss(network: Network, batch: list[Lesson], chance: np.random.Generator) -> torch.Tensor:
    longest, numbers = max(len(one.rows) for one in batch), batch[0].rows.shape[1]
    rows = np.zeros((len(batch), numbers, longest), np.float32)
    first = np.zeros((len(batch), longest), np.float32)
    there = np.zeros((len(batch), 1, longest), np.float32)
    for at, one in enumerate(batch):
        noise = NOISE * chance.standard_normal(one.rows.T.shape, np.float32)
        rows[at, :, : len(one.rows)] = one.rows.T + noise
        first[at, : len(one.rows)] = one.first
        there[at, 0, : len(one.rows)] = 1.0
    counts = torch.tensor([one.count for one in batch])
    knows_first = torch.tensor([float(one.knows_first) for one in batch])
    kinds = torch.tensor([one.kind for one in batch])
    inside = torch.from_numpy(there)
    odds, scores = network(torch.from_numpy(rows), inside)
    wrong = nn.functional.binary_cross_entropy_with_logits(
        odds, torch.from_numpy(first), reduction="none"
    )
    of_first = (wrong * inside[:, 0]).sum(1) / inside[:, 0].sum(1)
    of_kind = nn.functional.cross_entropy(scores, kinds, ignore_index=_UNKNOWN, reduction="none")
    return (counts * (2.0 * knows_first * of_first + _KINDS_COUNT * of_kind)).mean()


def _arrays(network: Network) -> Arrays:
    def of(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
        return tensor.detach().numpy().copy()

    def kernel(layer: nn.Module) -> npt.NDArray[np.float32]:
        return of(layer.weight).transpose(2, 1, 0)  # type: ignore[arg-type]

    return {
        "enter": kernel(network.enter),
        "enter_bias": of(network.enter.bias),  # type: ignore[arg-type]
        "deeper": np.stack([kernel(one) for one in network.deeper]),
        "deeper_bias": np.stack([of(one.bias) for one in network.deeper]),  # type: ignore[arg-type]
        "first": of(network.first.weight)[0, :, 0],
        "first_bias": of(network.first.bias)[0],  # type: ignore[arg-type]
        "kinds": of(network.kinds.weight).T,
        "kinds_bias": of(network.kinds.bias),
    }
