"""How loud sound is, by ITU-R BS.1770-5 and EBU R 128, while it comes."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.signal import sosfilt

from chorale_analysis.dynamics import QUIETEST_LUFS, Dynamics
from chorale_analysis.spectra import Array
from chorale_analysis.steps import Floats, Steps

STEPS_PER_SECOND = 10  # what loudness is gathered by: 100 ms
MOMENTARY_STEPS, SHORT_TERM_STEPS = 4, 30

# The two filters of BS.1770-5, Annex 1, which gives them for 48 kHz only, as analogue parameters.
_SHELF_HZ, _SHELF_GAIN_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_SHELF_BAND_EXPONENT = 0.4996667741545416
_HIGHPASS_HZ, _HIGHPASS_Q = 38.13547087602444, 0.5003270373238773
# Annex 3, in the order of WAVE's channels: 1.41 to the side and behind, 0 for low frequencies.
_WEIGHTS: dict[int, tuple[float, ...]] = {
    4: (1.0, 1.0, 1.41, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    7: (1.0, 1.0, 1.0, 0.0, 1.0, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41),
}
_INTEGRATED_GATE_LU, _RANGE_GATE_LU = -10.0, -20.0
_RANGE_PERCENTILES = (10, 95)  # EBU Tech 3342


class LoudnessListener:
    """Gathers the K-weighted mean square of every 100 ms of all channels."""

    def __init__(self, sample_rate_hz: int, channel_count: int) -> None:
        self._filter = weighting(sample_rate_hz)
        self._state = np.zeros((len(self._filter), 2, channel_count))
        self._weights = np.array(_WEIGHTS.get(channel_count, (1.0,) * channel_count))
        self._squares = Steps(sample_rate_hz, STEPS_PER_SECOND)

    def push(self, frames: Array) -> None:
        """Listens to the next frames, `(frames, channels)`, at the sound's own rate."""
        if not len(frames):
            return
        weighted, self._state = sosfilt(self._filter, frames, axis=0, zi=self._state)
        self._squares.push(np.square(weighted) @ self._weights)

    @property
    def steps(self) -> list[float]:
        """Mean squares of 100 ms each."""
        return self._squares.means

    @property
    def momentary_lufs(self) -> float:
        """Loudness of the last 400 ms, at least -70; that before they have come, too."""
        last = self.steps[-MOMENTARY_STEPS:]
        return max(QUIETEST_LUFS, lufs(sum(last) / MOMENTARY_STEPS))


def summary(steps: Sequence[float]) -> Dynamics:
    """The loudness of all steps: after each, of the whole, and its range."""
    line = np.array(steps, np.float64)
    before = np.concatenate([np.zeros(MOMENTARY_STEPS - 1), line])
    curve = tuple(
        max(QUIETEST_LUFS, lufs(float(mean))) for mean in windows(before, MOMENTARY_STEPS)
    )
    integrated, spread = integrated_lufs(line), range_lu(line)
    return Dynamics(
        hop_seconds=1.0 / STEPS_PER_SECOND,
        momentary_lufs=curve if len(line) else (),
        integrated_lufs=QUIETEST_LUFS if integrated is None else integrated,
        range_lu=0.0 if spread is None else spread,
    )


def weighting(sample_rate_hz: int) -> Floats:
    """K-weighting as second-order sections."""
    k = math.tan(math.pi * _SHELF_HZ / sample_rate_hz)
    high = 10.0 ** (_SHELF_GAIN_DB / 20.0)
    band = high**_SHELF_BAND_EXPONENT
    shelf = [high + band * k / _SHELF_Q + k * k, 2.0 * (k * k - high)]
    shelf += [high - band * k / _SHELF_Q + k * k]
    sections = [[*shelf, *_poles(k, _SHELF_Q)]]
    k = math.tan(math.pi * _HIGHPASS_HZ / sample_rate_hz)
    a0 = 1.0 + k / _HIGHPASS_Q + k * k  # the standard's own is not normalised
    sections.append([a0, -2.0 * a0, a0, *_poles(k, _HIGHPASS_Q)])
    sos = np.array(sections)
    normal: Floats = sos / sos[:, 3:4]
    return normal


def _poles(k: float, q: float) -> list[float]:
    return [1.0 + k / q + k * k, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]


def lufs(mean_square: float) -> float:
    """The loudness of a K-weighted mean square; -inf for none."""
    return -0.691 + 10.0 * math.log10(mean_square) if mean_square > 0.0 else -math.inf


def windows(steps: Floats, count: int) -> Floats:
    """Mean squares of so many successive steps, from each step on."""
    if len(steps) < count:
        return np.zeros(0)
    total = np.concatenate([[0.0], np.cumsum(steps)])
    means: Floats = np.maximum(0.0, total[count:] - total[:-count]) / count
    return means


def integrated_lufs(steps: Floats) -> float | None:
    """Gated loudness of the whole; None when nothing is above the absolute gate."""
    heard = _heard(windows(steps, MOMENTARY_STEPS))
    if not len(heard):
        return None
    gate = float(heard.mean()) * 10.0 ** (_INTEGRATED_GATE_LU / 10.0)
    return lufs(float(heard[heard > gate].mean()))


def range_lu(steps: Floats) -> float | None:
    """Loudness range; None when nothing of 3 s is above the absolute gate."""
    heard = _heard(windows(steps, SHORT_TERM_STEPS))
    if not len(heard):
        return None
    kept = np.sort(heard[heard > float(heard.mean()) * 10.0 ** (_RANGE_GATE_LU / 10.0)])
    low, high = (kept[round((len(kept) - 1) * p / 100)] for p in _RANGE_PERCENTILES)
    return float(10.0 * np.log10(high / low))


def _heard(means: Floats) -> Floats:
    heard: Floats = means[means > 10.0 ** ((QUIETEST_LUFS + 0.691) / 10.0)]
    return heard
