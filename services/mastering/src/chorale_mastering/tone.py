"""Tone as data: bands, and profiles as documented curves."""

import enum
import math
from dataclasses import dataclass


class EqShape(enum.Enum):
    """The shape of a band."""

    PEAK = "peak"
    LOW_SHELF = "low_shelf"
    HIGH_SHELF = "high_shelf"
    HIGH_PASS = "high_pass"  # noqa: S105
    LOW_PASS = "low_pass"  # noqa: S105


class EqProfile(enum.Enum):
    """A curve with a name."""

    NEUTRAL = "neutral"
    BRIGHT = "bright"
    WARM = "warm"
    BASS_BOOST = "bass_boost"


class EqPhase(enum.Enum):
    """What a filter does to time."""

    MINIMUM = "minimum"
    LINEAR = "linear"


@dataclass(frozen=True)
class EqBand:
    """One band."""

    shape: EqShape
    frequency_hz: float
    gain_db: float = 0.0  # not used by passes
    q: float = math.sqrt(0.5)


# What each profile does, in bands anyone can set by hand. Gains stay within 4 dB: a profile is a
# colour, not a repair.
PROFILES: dict[EqProfile, tuple[EqBand, ...]] = {
    EqProfile.NEUTRAL: (),
    EqProfile.BRIGHT: (
        EqBand(EqShape.PEAK, 250.0, -0.8, 0.8),  # less mud, so that the top is heard
        EqBand(EqShape.HIGH_SHELF, 6000.0, 3.0, 0.6),
    ),
    EqProfile.WARM: (
        EqBand(EqShape.PEAK, 200.0, 2.0, 0.6),
        EqBand(EqShape.HIGH_SHELF, 9000.0, -2.5, 0.6),
    ),
    EqProfile.BASS_BOOST: (
        EqBand(EqShape.LOW_SHELF, 90.0, 4.0, 0.7),
        EqBand(EqShape.PEAK, 300.0, -1.0, 0.9),  # keeps the boost from booming
    ),
}


class BandTooHigh(Exception):
    """A band lies where this sample rate has no sound."""

    def __init__(self, frequency_hz: float, highest_hz: float) -> None:
        super().__init__(frequency_hz, highest_hz)
        self.setting, self.frequency_hz, self.highest_hz = "eq_bands", frequency_hz, highest_hz

    def __str__(self) -> str:
        return (
            f"A band at {self.frequency_hz:g} Hz needs a higher sample rate;"
            f" this one carries {self.highest_hz:g} Hz."
        )
