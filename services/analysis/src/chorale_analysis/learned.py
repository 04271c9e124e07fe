"""What was learned from annotated music of how beats and bars sound, as weights of few features.

Fitted on seeded grooves and songs of our own and on rendered scores of old music, and on nothing
that it is measured with: logistic regression for what is first in a bar, a softmax over all ways to
hear a piece, rewarded by how right each is, and how often what was chosen came true.
`tools/rhythm_corpus.py` makes that music and `tools/learn_rhythm.py` learns from it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np

_LEARNED = json.loads(resources.files("chorale_analysis").joinpath("learned.json").read_text())

FIRST_WEIGHTS = np.array(_LEARNED["first"]["weights"])  # (beats around, features)
FIRST_BIAS = float(_LEARNED["first"]["bias"])


@dataclass(frozen=True)
class Judgement:
    """Which way to hear a piece, and how sure to be of it."""

    choice: Mapping[str, float]  # weights of features
    # By what is known of a choice, the last being for itself: how often it is right, in nats.
    chances: Mapping[str, list[float]]


ALONE = Judgement(_LEARNED["choice"], _LEARNED["chances"])
WITH_OPINION = Judgement(_LEARNED["with_opinion"]["choice"], _LEARNED["with_opinion"]["chances"])
KEY: list[float] = _LEARNED["key"]  # weights of what tells how sure a key is, and one of none
