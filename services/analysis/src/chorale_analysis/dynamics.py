"""What is asked and told of dynamics; `loudness` and `levels` find it."""

from dataclasses import dataclass

MINIMUM_SECONDS = 0.0  # silence and single frames have a level too
QUIETEST_LUFS, QUIETEST_DBFS = -70.0, -120.0  # what is told of less than that


@dataclass(frozen=True)
class DynamicsSettings:
    """How to look at dynamics."""

    silence_below_peak_db: float = 20.0
    curve_points: int = 1000


@dataclass(frozen=True)
class Stretch:
    """From one moment to another."""

    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Dynamics:
    """Level, loudness and silence over time; curves are empty that were not asked for."""

    hop_seconds: float
    momentary_lufs: tuple[float, ...]
    integrated_lufs: float
    range_lu: float
    rms_dbfs: tuple[float, ...] = ()
    onset_strength: tuple[float, ...] = ()
    trimmed: Stretch = Stretch(0.0, 0.0)
    silences: tuple[Stretch, ...] = ()
