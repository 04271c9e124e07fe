"""What was learned from annotated music of how beats and bars sound, as weights of few features.

Fitted on seeded grooves and songs of our own and on rendered scores of old music, and on nothing
that it is measured with: logistic regression for what is first in a bar, and a softmax over all
ways to hear a piece, rewarded by how right each is. The program that did it is not kept here.
"""

import json
from collections.abc import Mapping
from importlib import resources

import numpy as np

_LEARNED = json.loads(resources.files("chorale_analysis").joinpath("learned.json").read_text())

FIRST_WEIGHTS = np.array(_LEARNED["first"]["weights"])  # (beats around, features)
FIRST_BIAS = float(_LEARNED["first"]["bias"])
CHOICE: Mapping[str, float] = _LEARNED["choice"]
