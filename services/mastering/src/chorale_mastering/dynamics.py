"""How to compress, and the threshold that a programme asks for."""

from dataclasses import dataclass, replace

# The loudest twentieth of a programme is turned down by no more than this when the threshold is
# found from it: beyond, compression is heard as such.
_DEEPEST_DB = 6.0

LOWEST_DBFS = -100.0


@dataclass(frozen=True)
class Levels:
    """How loud the programme is to a compressor."""

    mean_dbfs: float
    loud_dbfs: float  # 95 % of the programme is below

    @property
    def is_silent(self) -> bool:
        """Whether there was nothing to hear."""
        return self.loud_dbfs <= LOWEST_DBFS


@dataclass(frozen=True)
class Compression:
    """How to compress. Levels are those of a sine: a full-scale sine is 0 dBFS."""

    ratio: float = 4.0
    threshold_dbfs: float | None = None  # None: found from the programme
    attack_ms: float = 10.0
    release_ms: float = 120.0
    knee_db: float = 6.0
    sidechain_highpass_hz: float = 80.0
    band_count: int = 1
    mix_percent: float = 100.0

    @property
    def is_on(self) -> bool:
        """Whether it would do anything."""
        return self.ratio > 1.0 and self.mix_percent > 0.0


def found(compression: Compression, levels: Levels) -> Compression:
    """The same with a threshold, found from the programme where none is set.

    It lies half a knee above the mean level, so that the louder half is held and the rest left
    alone, but never so low that the loudest twentieth would lose more than 6 dB.
    """
    if compression.threshold_dbfs is not None or not compression.is_on:
        return compression
    slope = 1.0 - 1.0 / compression.ratio
    threshold = max(
        levels.mean_dbfs + compression.knee_db / 2.0, levels.loud_dbfs - _DEEPEST_DB / slope
    )
    # Above the loud level it would never act; a knee below, it begins to.
    threshold = min(threshold, levels.loud_dbfs - compression.knee_db / 2.0)
    return replace(compression, threshold_dbfs=min(0.0, max(-60.0, threshold)))


def gentler(compression: Compression, preserve_dynamics: float) -> Compression:
    """The same, less steep: 0 keeps the ratio, 1 leaves none."""
    return replace(compression, ratio=1.0 + (compression.ratio - 1.0) * (1.0 - preserve_dynamics))
