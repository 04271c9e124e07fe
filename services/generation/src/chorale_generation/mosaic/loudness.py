"""Integrated loudness of short sound, and a limiter that keeps it under full scale.

ITU-R BS.1770-5. The mastering service measures anything; this is the part of it that a section
needs before it is heard.
"""

import functools
import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import resample_poly, sosfilt

from chorale_generation.mosaic.spectra import Samples

_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
_OFFSET_DB = -0.691
_LOOK_SECONDS = 0.005
_ROUNDS, _CLOSE_DB = 8, 0.02
_GAIN_MAX_DB = 30.0


def block_powers(sound: Samples, rate_hz: int) -> npt.NDArray[np.float64]:
    """K-weighted power, over all channels, of windows of 400 ms, 100 ms apart."""
    weighted = sosfilt(_k_weighting(rate_hz), sound, axis=0)
    power = (weighted**2).sum(axis=1)
    total = np.concatenate([[0.0], np.cumsum(power)])
    length, step = round(_BLOCK_SECONDS * rate_hz), round(_STEP_SECONDS * rate_hz)
    starts = np.arange(0, len(power) - length + 1, step)
    powers: npt.NDArray[np.float64] = (total[starts + length] - total[starts]) / length
    return powers


def integrated_lufs(sound: Samples, rate_hz: int) -> float | None:
    """Integrated loudness; None where a gate leaves nothing."""
    powers = block_powers(sound, rate_hz)
    powers = powers[powers > _power(_ABSOLUTE_GATE_LUFS)]
    if not len(powers):
        return None
    gate = powers.mean() * 10.0 ** (_RELATIVE_GATE_LU / 10.0)
    return _OFFSET_DB + 10.0 * math.log10(float(powers[powers > gate].mean()))


def levelled(
    sound: Samples, measured: slice, rate_hz: int, target_lufs: float, ceiling_dbtp: float
) -> Samples:
    """The sound at a loudness, measured within a slice of it, and under a ceiling."""
    gain_db = 0.0
    made = sound
    for _ in range(_ROUNDS):
        made = limited(sound * np.float32(10.0 ** (gain_db / 20.0)), rate_hz, ceiling_dbtp)
        found = integrated_lufs(made[measured], rate_hz)
        if found is None:
            if gain_db >= _GAIN_MAX_DB:
                break
            gain_db = _GAIN_MAX_DB
            continue
        off = target_lufs - found
        if abs(off) < _CLOSE_DB or (off > 0.0 and gain_db >= _GAIN_MAX_DB):
            break
        gain_db = min(gain_db + off, _GAIN_MAX_DB)
    return made


def limited(sound: Samples, rate_hz: int, ceiling_dbtp: float) -> Samples:
    """The sound, turned down smoothly around every true peak above the ceiling."""
    ceiling = 10.0 ** (ceiling_dbtp / 20.0)
    if np.abs(sound).max(initial=0.0) < 0.5 * ceiling:
        return sound
    fine = np.abs(resample_poly(sound, 4, 1, axis=0)).max(axis=1)
    peaks = fine[: 4 * len(sound)].reshape(-1, 4).max(axis=1)
    peaks = np.maximum(peaks, np.abs(sound).max(axis=1))
    wanted = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    look = 2 * round(_LOOK_SECONDS * rate_hz) + 1
    gain = uniform_filter1d(minimum_filter1d(wanted, look, mode="nearest"), look, mode="nearest")
    made: Samples = sound * gain.astype(np.float32)[:, None]
    return made


def _power(lufs: float) -> float:
    return float(10.0 ** ((lufs - _OFFSET_DB) / 10.0))


@functools.cache
def _k_weighting(rate_hz: int) -> npt.NDArray[np.float64]:
    """The shelf and the high pass of BS.1770, for any rate, as second-order sections."""
    return np.array([_shelf(rate_hz), _high_pass(rate_hz)])


def _shelf(rate_hz: int) -> list[float]:
    gain_db, quality, corner_hz = 3.999843853973347, 0.7071752369554196, 1681.974450955533
    k = math.tan(math.pi * corner_hz / rate_hz)
    high = 10.0 ** (gain_db / 20.0)
    middle = high**0.4996667741545416
    norm = 1.0 + k / quality + k * k
    return [
        (high + middle * k / quality + k * k) / norm,
        2.0 * (k * k - high) / norm,
        (high - middle * k / quality + k * k) / norm,
        1.0,
        2.0 * (k * k - 1.0) / norm,
        (1.0 - k / quality + k * k) / norm,
    ]


def _high_pass(rate_hz: int) -> list[float]:
    quality, corner_hz = 0.5003270373238773, 38.13547087602444
    k = math.tan(math.pi * corner_hz / rate_hz)
    norm = 1.0 + k / quality + k * k
    return [1.0, -2.0, 1.0, 1.0, 2.0 * (k * k - 1.0) / norm, (1.0 - k / quality + k * k) / norm]
