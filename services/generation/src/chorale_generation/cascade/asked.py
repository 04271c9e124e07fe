"""What is asked of the cascade."""

from collections.abc import Sequence
from dataclasses import dataclass

BANDWIDTHS_KBPS = (1.5, 3.0, 6.0, 12.0, 24.0)


@dataclass(frozen=True)
class CascadeWishes:
    """How to run codec and cascade; a count of 0 means all stages of the model."""

    stage_count: int = 0
    bandwidth_kbps: float = 6.0
    overlap: float = 0.25
    match_level: bool = True
    notch_outliers: bool = True
    complementary_masks: bool | None = None  # None: as the model was trained


@dataclass(frozen=True)
class Masks:
    """Means of what the cascade lets through of each track, and how much that excludes each
    other; all in [0, 1]."""

    track_1: float
    track_2: float
    complementarity: float


def joined(found: Sequence[Masks]) -> Masks:
    """Their mean."""
    count = len(found)
    return Masks(
        sum(each.track_1 for each in found) / count,
        sum(each.track_2 for each in found) / count,
        sum(each.complementarity for each in found) / count,
    )


@dataclass(frozen=True)
class ModelPath:
    """A file of weights on this machine, and the digest that it must have."""

    path: str
    name: str
    sha256: str
