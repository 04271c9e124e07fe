"""Looking a programme over, block by block."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering.block import Samples
from chorale_mastering.inspection import Inspection
from chorale_mastering.spectrum import MeanSpectrum

# A sample this high counts as clipped when its neighbour is as high: matchering's threshold.
_CLIPPED = 0.998138
_CLIPPED_RUN_FRAMES = 3


@dataclass(frozen=True)
class Rules:
    """What is loud, what is clipped, and what is silence."""

    piece_seconds: float = 15.0  # loud and soft are told apart over pieces of this length
    clip_threshold: float = _CLIPPED
    epsilon: float = 0.0  # what has less power counts towards no spectrum


class Inspector:
    """Gathers an `Inspection` block by block; memory does not grow."""

    def __init__(self, sample_rate_hz: int, channel_count: int, rules: Rules = Rules()) -> None:
        self._rate_hz = sample_rate_hz
        self._clipped = np.float32(rules.clip_threshold)
        self._spectrum = MeanSpectrum.gatherer(
            sample_rate_hz, channel_count, rules.piece_seconds, rules.epsilon
        )
        self._sums = np.zeros((channel_count, 6))
        self._last = np.zeros((channel_count, 2))
        self._cross = np.zeros(1)
        self._frame_count = 0

    def push(self, block: Samples) -> None:
        """Looks at the next frames."""
        _sum_up(
            np.ascontiguousarray(block, np.float32),
            self._sums,
            self._last,
            self._cross,
            self._clipped,
        )
        self._spectrum.push(block)
        self._frame_count += len(block)

    def read(self) -> Inspection:
        """The facts of all frames so far."""
        count = max(1, self._frame_count)
        total, squares, crossings, clipped, peak, _ = self._sums.T
        power = float(squares.sum()) / (count * len(squares))
        decibels = 10.0 * math.log10(power) if power > 0.0 else -math.inf
        crest = 20.0 * math.log10(float(peak.max())) - decibels if power > 0.0 else 0.0
        middle, side = self._middle_and_side(squares / count)
        return Inspection(
            frame_count=self._frame_count,
            sample_rate_hz=self._rate_hz,
            offsets=tuple((total / count).tolist()),
            rms_dbfs=decibels,
            crest_factor_db=crest,
            zero_crossing_rate=float(crossings.sum()) / (count * len(crossings)),
            clipped_run_count=int(clipped.sum()),
            middle_power=middle,
            side_power=side,
            spectrum=self._spectrum.read(),
        )

    def _middle_and_side(self, powers: npt.NDArray[np.float64]) -> tuple[float, float]:
        if len(powers) != 2:
            return float(powers.mean()), 0.0
        cross = 2.0 * float(self._cross[0]) / max(1, self._frame_count)
        total = float(powers.sum())
        return max(0.0, total + cross) / 4.0, max(0.0, total - cross) / 4.0


def _sum_up(
    block: Samples,
    sums: npt.NDArray[np.float64],
    last: npt.NDArray[np.float64],
    cross: npt.NDArray[np.float64],
    clipped: np.float32,
) -> None:
    """Adds to each channel's sum, squares, sign changes, clipped runs and peak."""
    for channel in range(block.shape[1]):
        loudest = _add(block, channel, sums[channel], last[channel])
        if loudest >= clipped or last[channel, 1] > 0.0:
            sums[channel, 3] += _clipped_runs(block, channel, last[channel], clipped)
        if len(block):
            last[channel, 0] = block[-1, channel]
    if block.shape[1] == 2:
        cross[0] += _product(block)


# Sums run in eight lanes, a fixed order within a block; the last digits of a double are free to
# differ with the cut, because no sample depends on them.


@njit(cache=True, nogil=True, fastmath=True)
def _add(block, channel, sums, last):  # type: ignore[no-untyped-def]
    total, squares, crossings, peak = 0.0, 0.0, 0, np.float32(0.0)
    for n in range(np.uintp(block.shape[0])):
        x = block[n, np.uintp(channel)]
        total += x
        squares += np.float64(x) * np.float64(x)
        peak = max(peak, abs(x))
    for n in range(np.uintp(1), np.uintp(block.shape[0])):
        here, before = block[n, np.uintp(channel)], block[n - np.uintp(1), np.uintp(channel)]
        crossings += (here < 0.0) != (before < 0.0)
    if block.shape[0]:
        crossings += (block[0, channel] < 0.0) != (last[0] < 0.0)
    sums[0] += total
    sums[1] += squares
    sums[2] += crossings
    sums[4] = max(sums[4], np.float64(peak))
    return peak


@njit(cache=True, nogil=True)
def _clipped_runs(block, channel, last, clipped):  # type: ignore[no-untyped-def]
    """Counts runs that become long enough; the length of the run at the end is kept."""
    before, run = last
    count = 0.0
    for n in range(np.uintp(block.shape[0])):
        x = block[n, np.uintp(channel)]
        run = run + 1.0 if abs(x) >= clipped and x == before else 0.0
        count += 1.0 if run == _CLIPPED_RUN_FRAMES - 1.0 else 0.0
        before = x
    last[1] = run
    return count


@njit(cache=True, nogil=True, fastmath=True)
def _product(block):  # type: ignore[no-untyped-def]
    total = 0.0
    for n in range(np.uintp(block.shape[0])):
        total += np.float64(block[n, np.uintp(0)]) * np.float64(block[n, np.uintp(1)])
    return total
