"""The width of the stereo image: sides louder or softer, lows in the middle, mono kept whole."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from chorale_mastering import biquad
from chorale_mastering.biquad import BUTTERWORTH_Q, coefficients
from chorale_mastering.block import Hopped, Samples

_RUN_FRAMES = 64
_GUARD_MS = 300.0  # correlation is that of so long


@dataclass(frozen=True)
class Width:
    """How wide the image shall be."""

    percent: float = 100.0  # 0 is mono, 100 leaves it, 200 doubles the sides
    mono_below_hz: float = 0.0  # 0: lows keep their place
    minimum_correlation: float = 0.0  # what widening must leave

    @property
    def is_on(self) -> bool:
        """Whether it would do anything."""
        return self.percent != 100.0 or self.mono_below_hz > 0.0


class StereoWidth(Hopped):
    """Scales the side signal of two channels.

    Below `mono_below_hz` the side is taken out, 24 dB per octave (two Butterworth sections, the
    high side of a Linkwitz-Riley pair). Widening, and only widening, is held back where the
    correlation of left and right over the last 300 ms would fall under the least allowed; sound
    that already lies below it is left as it is. Frames of any other channel count pass.
    """

    def __init__(self, sample_rate_hz: int, channel_count: int, width: Width) -> None:
        super().__init__(channel_count, _RUN_FRAMES, 0)
        self._is_stereo = channel_count == 2
        corner = width.mono_below_hz
        stage = biquad.high_pass(corner, BUTTERWORTH_Q, sample_rate_hz) if corner > 0.0 else None
        self._coefficients = coefficients((stage, stage) if stage else ())
        self._states = np.zeros((len(self._coefficients), 1, 2))
        smoothing = 1.0 - math.exp(-1000.0 * _RUN_FRAMES / (_GUARD_MS * sample_rate_hz))
        self._wanted = np.array([width.percent / 100.0, width.minimum_correlation, smoothing])
        # Energies of mid and side, their product, the width in force, and the least there was.
        self._memory = np.array([0.0, 0.0, 0.0, min(1.0, self._wanted[0]), self._wanted[0]])
        self._position = 0

    @property
    def least_percent(self) -> float:
        """The least width that the guard left, in percent."""
        return 100.0 * float(self._memory[4])

    def _advance(self, line: Samples) -> Samples:
        if not self._is_stereo or not len(line):
            return line
        half = np.float32(0.5)
        middle = (line[:, 0] + line[:, 1]) * half
        side = ((line[:, 0] - line[:, 1]) * half)[:, None]
        if len(self._coefficients):
            biquad.filter_in_place(side, self._coefficients, self._states, self._position)
        self._position += len(line)
        out = np.empty_like(line)
        _widen(middle, side[:, 0], self._wanted, self._memory, out)
        return out


@njit(cache=True, nogil=True)
def _widen(middle, side, wanted, memory, out):  # type: ignore[no-untyped-def]
    """Runs of 64: weigh, decide the width, go straight to it."""
    width, least_correlation, smoothing = wanted
    middles, sides, crosses, before, narrowest = memory
    for start in range(0, middle.shape[0], _RUN_FRAMES):
        mm = ss = ms = 0.0
        for n in range(np.uintp(start), np.uintp(start + _RUN_FRAMES)):
            mm += middle[n] * middle[n]
            ss += side[n] * side[n]
            ms += middle[n] * side[n]
        middles += smoothing * (mm - middles)
        sides += smoothing * (ss - sides)
        crosses += smoothing * (ms - crosses)
        if middles < 1e-20:
            middles = 0.0
        if sides < 1e-20:
            sides = 0.0
        allowed = width
        if width > 1.0:
            allowed = _allowed(width, least_correlation, middles, sides, crosses)
            if sides > 0.0:
                narrowest = min(narrowest, allowed)
        step = (allowed - before) / _RUN_FRAMES
        for k in range(np.uintp(_RUN_FRAMES)):
            here = np.uintp(start) + k
            spread = side[here] * np.float32(before + step * (k + np.uintp(1)))
            out[here, 0], out[here, 1] = middle[here] + spread, middle[here] - spread
        before = allowed
    memory[0], memory[1], memory[2], memory[3], memory[4] = (
        middles,
        sides,
        crosses,
        before,
        narrowest,
    )


@njit(cache=True, nogil=True)
def _allowed(width, least, middles, sides, crosses):  # type: ignore[no-untyped-def]
    """The greatest width from 1 to `width` whose correlation is at least `least`."""
    if _correlation(width, middles, sides, crosses) >= least:
        return width
    low, high = 1.0, width
    for _ in range(12):
        between = 0.5 * (low + high)
        if _correlation(between, middles, sides, crosses) >= least:
            low = between
        else:
            high = between
    return low


@njit(cache=True, nogil=True)
def _correlation(width, middles, sides, crosses):  # type: ignore[no-untyped-def]
    """Correlation of m + w s and m - w s."""
    spread, cross = width * width * sides, 2.0 * width * crosses
    both = (middles + spread + cross) * (middles + spread - cross)
    return 1.0 if both <= 0.0 else (middles - spread) / math.sqrt(both)
