"""Between proto messages and the values that music knows."""

import math
from collections.abc import Mapping

from chorale.engines.v1 import engine_pb2
from chorale.mastering.v1 import loudness_pb2
from chorale_audio.source import Source, Span

from chorale_mastering.engines import Engine
from chorale_mastering.gating import ABSOLUTE_GATE_LUFS
from chorale_mastering.loudness import Curve, Loudness
from chorale_mastering.weighting import CHANNEL_WEIGHTS
