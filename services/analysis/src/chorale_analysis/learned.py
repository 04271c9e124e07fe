"""What was learned from annotated music of how beats and bars sound, as weights of few features.

Fitted on seeded grooves and songs of our own and on rendered scores of old music, and on nothing
that it is measured with: a softmax over all ways to hear a piece, rewarded by how right each is,
with small networks beside it for which of several tempi people tap to, and how often what was
chosen came true. What `pulse_network` reads is among the features.
`tools/rhythm_corpus.py` makes that music and `tools/learn_rhythm.py` learns from it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_LEARNED = json.loads(resources.files("chorale_analysis").joinpath("learned.json").read_text())

Floats = npt.NDArray[np.float64]

_FARTHEST = 4.0  # deviations: what is heard of a pulse says no more beyond


@dataclass(frozen=True)
class Taste:
    """Networks of one hidden layer that say how well people could tap to a pulse, in nats."""

    names: tuple[str, ...]  # what they are told of it
    mean: Floats
    spread: Floats
    hidden: Floats  # (networks, names and one, units)
    out: Floats  # (networks, units)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """What learned.json tells of them."""
        rows = (np.array(told[name]) for name in ("mean", "spread", "hidden", "out"))
        return cls(tuple(told["names"]), *rows)

    def scores(self, rows: Floats) -> Floats:
        """What all think of pulses in the mean, a row of features each."""
        units = np.tanh(self.seen(rows) @ self.hidden)
        found: Floats = np.einsum("nru,nu->r", units, self.out) / len(self.out)
        return found

    def seen(self, rows: Floats) -> Floats:
        """Features as networks take them, with a one behind."""
        near = np.clip((rows - self.mean) / self.spread, -_FARTHEST, _FARTHEST)
        return np.hstack([near, np.ones((len(rows), 1))])

    def score(self, features: Mapping[str, float]) -> float:
        """What they think of one pulse."""
        return float(self.scores(np.array([[features[name] for name in self.names]]))[0])


@dataclass(frozen=True)
class Judgement:
    """Which way to hear a piece, and how sure to be of it."""

    choice: Mapping[str, float]  # weights of features
    taste: Taste
    taste_weight: float
    # By what is known of a choice, the last being for itself: how often it is right, in nats.
    chances: Mapping[str, list[float]]


_TASTE, _OPINED = Taste.of(_LEARNED["taste"]), _LEARNED["with_opinion"]
ALONE = Judgement(_LEARNED["choice"], _TASTE, 1.0, _LEARNED["chances"])
WITH_OPINION = Judgement(_OPINED["choice"], _TASTE, _OPINED["taste_weight"], _OPINED["chances"])
KEY: list[float] = _LEARNED["key"]  # weights of what tells how sure a key is, and one of none
