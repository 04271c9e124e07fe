"""What a compressor hears: the level of the programme without its deepest lows."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering import biquad
from chorale_mastering.biquad import BUTTERWORTH_Q, coefficients
from chorale_mastering.block import Samples
from chorale_mastering.dynamics import LOWEST_DBFS, Levels

# The mean square is taken over this long, so that a bass note is one level and no ripple.
_DETECTOR_MS = 5.0
_HOPS_PER_SECOND = 6000  # the gain is told so often, and runs straight between

LEVELS_PER_DB = 10
HIGHEST_DBFS = 20.0
_LEVEL_COUNT = round((HIGHEST_DBFS - LOWEST_DBFS) * LEVELS_PER_DB)

# A full-scale sine is 0 dBFS (AES17): 3.01 dB above its mean square.
SINE_DB = 10.0 * math.log10(2.0)

_GATE_DB = -30.0  # what is this far below the loudest tenth is no programme to compress


def hop_frames(sample_rate_hz: int) -> int:
    """Frames from one told gain to the next."""
    return max(1, sample_rate_hz // _HOPS_PER_SECOND)


class Detector:
    """Finds the mean square of every hop, all channels taken together."""

    def __init__(self, sample_rate_hz: int, channel_count: int, highpass_hz: float) -> None:
        hertz = highpass_hz
        stages = (biquad.high_pass(hertz, BUTTERWORTH_Q, sample_rate_hz),) if hertz > 0.0 else ()
        self._coefficients = coefficients(stages)
        self._states = np.zeros((len(stages), channel_count, 2))
        self._position = 0
        self._hop = hop_frames(sample_rate_hz)
        self._smoothing = 1.0 - math.exp(-1000.0 * self._hop / (_DETECTOR_MS * sample_rate_hz))
        self._mean_square = np.zeros(1)

    def levels(self, line: Samples) -> Samples:
        """The level of each hop in dBFS; `line` holds whole hops. -200 in digital silence."""
        heard = line
        if len(self._coefficients):
            heard = line.copy()
            biquad.filter_in_place(heard, self._coefficients, self._states, self._position)
        self._position += len(line)
        out = np.empty(len(line) // self._hop, np.float32)
        _mean_squares(heard, self._hop, self._smoothing, self._mean_square, out)
        levels = 10.0 * np.log10(np.maximum(out, 1e-20)) + SINE_DB
        return levels.astype(np.float32)


class LevelStatistics:
    """Gathers the levels of a whole programme into a histogram of 0.1 dB."""

    def __init__(self) -> None:
        self._counts = np.zeros(_LEVEL_COUNT, np.int64)

    def push(self, levels_dbfs: Samples) -> None:
        """Takes the next levels."""
        places = ((levels_dbfs - np.float32(LOWEST_DBFS)) * LEVELS_PER_DB).astype(np.int64)
        inside = places[(places > 0) & (places < _LEVEL_COUNT)]
        self._counts += np.bincount(inside, minlength=_LEVEL_COUNT)

    def read(self) -> Levels:
        """The mean by power and the 95th percentile of what is programme."""
        if not self._counts.any():
            return Levels(LOWEST_DBFS, LOWEST_DBFS)
        counts = self._counts.copy()
        counts[: max(0, _percentile(counts, 0.9) + round(_GATE_DB * LEVELS_PER_DB))] = 0
        power = 10.0 ** (_level(np.arange(_LEVEL_COUNT)) / 10.0)
        mean = 10.0 * math.log10(float((counts * power).sum() / counts.sum()))
        return Levels(mean, float(_level(np.array(_percentile(counts, 0.95)))))


def _percentile(counts: npt.NDArray[np.int64], share: float) -> int:
    return int(np.searchsorted(np.cumsum(counts), share * counts.sum()))


def _level(place: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return LOWEST_DBFS + (place + 0.5) / LEVELS_PER_DB


@njit(cache=True, nogil=True)
def _mean_squares(heard, hop, smoothing, memory, out):  # type: ignore[no-untyped-def]
    """The mean square over channels and hop, smoothed from hop to hop."""
    mean_square = memory[0]
    share = 1.0 / (hop * heard.shape[1])
    for number in range(out.shape[0]):
        total = np.float32(0.0)
        for n in range(np.uintp(number * hop), np.uintp((number + 1) * hop)):
            for channel in range(np.uintp(heard.shape[1])):
                total += heard[n, channel] * heard[n, channel]
        mean_square += smoothing * (total * share - mean_square)
        if mean_square < 1e-25:
            mean_square = 0.0
        out[number] = mean_square
    memory[0] = mean_square
