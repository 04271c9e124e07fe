"""A small network that reads beats in their order: which begin bars, and if people tap to them.

Convolutions over beats, wider from layer to layer, so that each is read with 17 to either side.
`tools/learn_rhythm.py network` teaches it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Self

import numpy as np
import numpy.typing as npt

from chorale_analysis.onsets import Floats

# What a pulse may be: the beats themselves in bars of so many, or others.
BARS = (2, 3, 4)
KINDS = (*BARS, "too fast", "too slow", "other")
DILATIONS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Reading:
    """What is read of a pulse."""

    first: Floats  # the odds of each beat to be the first of a bar, in nats
    kinds: Floats  # the logarithm of the chance of each of `KINDS`

    @property
    def is_beat(self) -> float:
        """The logarithm of the chance that people tap to it, whatever its bars."""
        return float(np.logaddexp.reduce(self.kinds[: len(BARS)]))

    def chance_of(self, kind: str) -> float:
        """The logarithm of the chance that it is of this kind."""
        return float(self.kinds[KINDS.index(kind)])

    def in_bars(self, length: int) -> float:
        """The logarithm of the chance that they do and that it goes in bars of this length."""
        return float(self.kinds[BARS.index(length)] if length in BARS else self.kinds.min())


@dataclass(frozen=True)
class Layers:
    """The weights of one network: kernels are `(beats around, numbers in, numbers out)`."""

    enter: Floats
    enter_bias: Floats
    deeper: Floats  # one after another
    deeper_bias: Floats
    first: Floats
    first_bias: Floats
    kinds: Floats
    kinds_bias: Floats

    def read(self, rows: Floats) -> tuple[Floats, Floats]:
        """Odds of every beat to be first, and chances of kinds as logarithms."""
        seen = np.maximum(_along(rows, self.enter, 1) + self.enter_bias, 0.0)
        for kernel, bias, apart in zip(self.deeper, self.deeper_bias, DILATIONS, strict=True):
            seen = seen + np.maximum(_along(seen, kernel, apart) + bias, 0.0)
        whole = np.concatenate([seen.mean(axis=0), np.sqrt(seen.var(axis=0) + 1e-5)])
        scores = whole @ self.kinds + self.kinds_bias
        return seen @ self.first + self.first_bias, scores - np.logaddexp.reduce(scores)


@dataclass(frozen=True)
class PulseNetwork:
    """Several networks, each taught from another start, that are asked together."""

    networks: tuple[Layers, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.floating]]) -> Self:
        """Networks from arrays named as in `Layers`, one network after another in each."""
        wide = {name: np.asarray(arrays[name], np.float64) for name in Layers.__annotations__}
        count = len(wide["enter"])
        return cls(tuple(Layers(**{k: v[n] for k, v in wide.items()}) for n in range(count)))

    def read(self, rows: Floats) -> Reading:
        """What they say in the mean."""
        firsts, kinds = zip(*(one.read(rows) for one in self.networks), strict=True)
        return Reading(np.mean(firsts, axis=0), np.mean(kinds, axis=0))


def _along(rows: Floats, kernel: Floats, apart: int) -> Floats:
    """A convolution over beats that are so far apart; beyond the ends all is 0."""
    reach = apart * (len(kernel) // 2)
    padded = np.pad(rows, ((reach, reach), (0, 0)))
    found: Floats = sum(
        (padded[at * apart : at * apart + len(rows)] @ one for at, one in enumerate(kernel)),
        np.zeros(kernel.shape[2]),
    )
    return found


def _learned() -> PulseNetwork:
    kept = resources.files("chorale_analysis").joinpath("pulse_network.npz")
    with kept.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return PulseNetwork.of(arrays)


LEARNED = _learned()
