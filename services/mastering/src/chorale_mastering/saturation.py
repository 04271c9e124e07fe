"""Bending waveforms on purpose: harmonics for warmth, and soft clipping of peaks."""

import numpy as np

from chorale_mastering.block import Samples
from chorale_mastering.oversampling import Bent

# Where the curve leaves the straight line, and where it ends: at hardly any percent, and at 100.
_START, _START_AT_FULL = 0.35, 0.03
_LIMIT, _LIMIT_AT_FULL = 1.5, 0.7
_BIAS_AT_FULL = 0.02  # a little unevenness: the second harmonic is what "warm" means

_CLIP_KNEE = 0.8  # of the level to clip at: where a soft clip begins


class Saturation:
    """Adds harmonics, at four times the rate; `drive` brings the programme to where it is voiced.

    Odd harmonics by the curve, even ones by its bias. Silence stays silence.
    """

    def __init__(
        self, sample_rate_hz: int, channel_count: int, percent: float, drive: float
    ) -> None:
        del sample_rate_hz  # the same at every rate
        amount = percent / 100.0
        start = _START * (_START_AT_FULL / _START) ** amount
        limit = _LIMIT * (_LIMIT_AT_FULL / _LIMIT) ** amount
        self._drive = np.float32(drive)
        self._bent = Bent(channel_count, start, limit, _BIAS_AT_FULL * amount)

    @property
    def latency_frames(self) -> int:
        """Of the filters."""
        return self._bent.latency_frames

    def process(self, block: Samples) -> Samples:
        """Bends the next frames."""
        out: Samples = self._bent.process(block * self._drive) / self._drive
        return out

    def flush(self) -> Samples:
        """The rest."""
        out: Samples = self._bent.flush() / self._drive
        return out


def clipper(channel_count: int, clip_dbfs: float) -> Bent:
    """Clips softly what would pass a level, at four times the rate."""
    limit = 10.0 ** (clip_dbfs / 20.0)
    return Bent(channel_count, _CLIP_KNEE * limit, limit)
