"""What is asked of the cascade."""

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


@dataclass(frozen=True)
class ModelPath:
    """A file of weights on this machine, and the digest that it must have."""

    path: str
    name: str
    sha256: str
