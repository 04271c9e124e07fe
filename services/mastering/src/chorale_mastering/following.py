"""How to follow a reference, and all that has to be known of one."""

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chorale_mastering.loudness import Loudness

if TYPE_CHECKING:  # it brings numpy, which the service's own process does not need
    from chorale_mastering.inspection import Inspection


class MatchAspect(enum.Enum):
    """What a reference can give."""

    SPECTRUM = "spectrum"
    LOUDNESS = "loudness"
    WIDTH = "width"
    PEAK = "peak"


@dataclass(frozen=True)
class MatchSettings:
    """How to follow."""

    amount_percent: float = 100.0
    ignore: tuple[MatchAspect, ...] = ()
    piece_seconds: float = 15.0
    whole_spectrum: bool = False
    fft_size: int = 4096
    smoothing_octaves: float = 1.0 / 3.0
    smoothing_passes: int = 1
    band_count: int = 31
    clip_threshold: float = 0.998138
    epsilon: float = 1e-6
    normalize_reference: bool = False

    def follows(self, aspect: MatchAspect) -> bool:
        """Whether this aspect is taken over."""
        return aspect not in self.ignore

    @property
    def share(self) -> float:
        """How far to go, in [0, 1]."""
        return self.amount_percent / 100.0


@dataclass(frozen=True)
class ReferenceFacts:
    """All that matching needs of a reference; the reference itself is not needed any more."""

    loudness: Loudness
    facts: "Inspection"


@dataclass(frozen=True)
class Match:
    """A reference and how to follow it."""

    reference: ReferenceFacts
    settings: MatchSettings = field(default_factory=MatchSettings)
