"""What loudness does not tell: how alike left and right are, and how far loud is from soft."""

import numpy as np
import numpy.typing as npt

from chorale_mastering.energy import STEPS_PER_SECOND, Steps

_BLOCK_STEPS = 5  # RMS over 50 ms
_PERCENTILES = (10, 95)
_FLOOR = 1e-7  # -70 dBFS: black between notes is no dynamics


class Balance:
    """Gathers correlation and dynamic range from the plain sums of 10 ms steps."""

    def __init__(self, sample_rate_hz: int, channel_count: int) -> None:
        self._samples_per_block = sample_rate_hz * channel_count * _BLOCK_STEPS / STEPS_PER_SECOND
        self._channel_count = channel_count
        self._left = self._right = self._cross = 0.0
        self._blocks: list[npt.NDArray[np.float32]] = []
        self._pending = np.zeros(0)

    def push(self, steps: Steps) -> None:
        """Gathers the next steps."""
        self._left = _running(self._left, steps.left)
        self._right = _running(self._right, steps.right)
        self._cross = _running(self._cross, steps.cross)
        powers = np.concatenate([self._pending, steps.power])
        count = len(powers) // _BLOCK_STEPS * _BLOCK_STEPS
        block = np.zeros(count // _BLOCK_STEPS)
        for k in range(_BLOCK_STEPS):
            block += powers[k:count:_BLOCK_STEPS]
        self._blocks.append(block.astype(np.float32))
        self._pending = powers[count:]

    def correlation(self) -> float:
        """Correlation of left and right, in [-1, 1]; 1 for mono and where one of them is silent."""
        scale = np.sqrt(self._left * self._right)
        if self._channel_count == 1 or scale == 0.0:
            return 1.0
        return float(np.clip(self._cross / scale, -1.0, 1.0))

    def dynamic_range_db(self) -> float:
        """The 95th less the 10th percentile of RMS over 50 ms, of what is above -70 dBFS."""
        self._blocks = [np.concatenate([np.zeros(0, np.float32), *self._blocks])]
        powers = self._blocks[0] / self._samples_per_block
        heard = powers[powers > _FLOOR]
        if not len(heard):
            return 0.0
        low, high = np.percentile(heard, _PERCENTILES)
        return float(10.0 * np.log10(high / low))


def _running(total: float, values: npt.NDArray[np.float64]) -> float:
    """Adds values one after the other: the same bits however they came."""
    return float(np.cumsum(np.concatenate([[total], values]))[-1])
