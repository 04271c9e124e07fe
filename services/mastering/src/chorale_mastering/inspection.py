"""What is to be known of a programme before it is worked on, beside its loudness."""

import math
from dataclasses import dataclass

from chorale_mastering.spectrum import MeanSpectrum


@dataclass(frozen=True)
class Inspection:
    """Facts of a programme."""

    frame_count: int
    sample_rate_hz: int
    offsets: tuple[float, ...]  # mean of each channel, as a share of full scale
    rms_dbfs: float  # over all channels; -inf in silence
    crest_factor_db: float
    zero_crossing_rate: float  # sign changes per sample
    clipped_run_count: int  # runs of at least 3 samples at full scale
    middle_power: float  # mean squares of (L + R) / 2 and (L - R) / 2; side is 0 unless stereo
    side_power: float
    spectrum: MeanSpectrum

    @property
    def offset_dbfs(self) -> float:
        """The greatest offset of any channel; -inf for none."""
        most = max(abs(offset) for offset in self.offsets)
        return 20.0 * math.log10(most) if most > 0.0 else -math.inf

    @property
    def width(self) -> float:
        """Side over middle by amplitude; 0 for mono."""
        return math.sqrt(self.side_power / self.middle_power) if self.middle_power > 0.0 else 0.0
