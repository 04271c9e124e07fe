"""From the energies of a whole programme to one number: gates and percentiles."""

import numpy as np
import numpy.typing as npt

from chorale_mastering.loudness import ABSOLUTE_GATE_LUFS

_INTEGRATED_GATE_LU = -10.0  # BS.1770-5: relative to the mean of what passed the first gate
_RANGE_GATE_LU = -20.0  # Tech 3342, 3.1
_RANGE_PERCENTILES = (10, 95)  # Tech 3342, 3.2

Energies = npt.NDArray[np.float64]


def loudness_of(mean_square: float) -> float:
    """Loudness in LUFS of a K-weighted mean square (BS.1770-5, eq. 2); -inf for none."""
    return -0.691 + 10.0 * float(np.log10(mean_square)) if mean_square > 0.0 else -np.inf


def mean_square_of(loudness_lufs: float) -> float:
    """The K-weighted mean square of a loudness."""
    return float(10.0 ** ((loudness_lufs + 0.691) / 10.0))


def integrated_lufs(blocks: Energies) -> float | None:
    """Gated loudness of the mean squares of 400 ms blocks, 100 ms apart (BS.1770-5, eq. 4 to 7).

    None when no block is above the absolute gate.
    """
    heard = blocks[blocks > mean_square_of(ABSOLUTE_GATE_LUFS)]
    if not len(heard):
        return None
    gate = float(heard.mean()) * 10.0 ** (_INTEGRATED_GATE_LU / 10.0)
    return loudness_of(float(heard[heard > gate].mean()))


def range_lu(blocks: Energies) -> float | None:
    """Loudness range of the mean squares of 3 s blocks, 100 ms apart (Tech 3342).

    None when no block is above the absolute gate.
    """
    heard = blocks[blocks > mean_square_of(ABSOLUTE_GATE_LUFS)]
    if not len(heard):
        return None
    gate = float(heard.mean()) * 10.0 ** (_RANGE_GATE_LU / 10.0)
    kept = np.sort(heard[heard > gate])
    low, high = (kept[round((len(kept) - 1) * p / 100)] for p in _RANGE_PERCENTILES)
    return float(10.0 * np.log10(high / low))
