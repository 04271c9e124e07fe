"""K-weighting: what BS.1770 does to a channel before it measures power."""

import math
from dataclasses import dataclass

# The two filters of ITU-R BS.1770-5, Annex 1, given there as coefficients for 48 kHz only. These
# analogue parameters are those coefficients with the bilinear transform undone, so that the same
# curve can be had at any rate; `test_weighting.py` holds them against the standard's tables.
_SHELF_HZ, _SHELF_GAIN_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_SHELF_BAND_EXPONENT = 0.4996667741545416
_HIGHPASS_HZ, _HIGHPASS_Q = 38.13547087602444, 0.5003270373238773

# Weights by channel count, in the order in which WAVE files and FFmpeg keep their channels.
# BS.1770-5, Annex 3: 1.41 for 60 to 120 degrees to the side, 0 for the low-frequency effects.
SIDE = 1.41
CHANNEL_WEIGHTS: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    2: (1.0, 1.0),
    3: (1.0, 1.0, 1.0),  # L R C
    4: (1.0, 1.0, SIDE, SIDE),  # L R Ls Rs
    5: (1.0, 1.0, 1.0, SIDE, SIDE),  # L R C Ls Rs
    6: (1.0, 1.0, 1.0, 0.0, SIDE, SIDE),  # L R C LFE Ls Rs
    7: (1.0, 1.0, 1.0, 0.0, 1.0, SIDE, SIDE),  # L R C LFE Cb Ls Rs
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, SIDE, SIDE),  # L R C LFE Lb Rb Ls Rs
}


@dataclass(frozen=True)
class Biquad:
    """A second-order filter, normalised so that a0 = 1."""

    b0: float
    b1: float
    b2: float
    a1: float
    a2: float


def shelf(sample_rate_hz: int) -> Biquad:
    """The first stage: how a head lifts what lies above 1.5 kHz (Annex 1, table 1)."""
    k = math.tan(math.pi * _SHELF_HZ / sample_rate_hz)
    high = 10.0 ** (_SHELF_GAIN_DB / 20.0)
    band = high**_SHELF_BAND_EXPONENT
    a0 = 1.0 + k / _SHELF_Q + k * k
    return Biquad(
        b0=(high + band * k / _SHELF_Q + k * k) / a0,
        b1=2.0 * (k * k - high) / a0,
        b2=(high - band * k / _SHELF_Q + k * k) / a0,
        a1=2.0 * (k * k - 1.0) / a0,
        a2=(1.0 - k / _SHELF_Q + k * k) / a0,
    )


def highpass(sample_rate_hz: int) -> Biquad:
    """The second stage: the ear's deafness to rumble (Annex 1, table 2)."""
    k = math.tan(math.pi * _HIGHPASS_HZ / sample_rate_hz)
    a0 = 1.0 + k / _HIGHPASS_Q + k * k
    return Biquad(
        b0=1.0,
        b1=-2.0,
        b2=1.0,
        a1=2.0 * (k * k - 1.0) / a0,
        a2=(1.0 - k / _HIGHPASS_Q + k * k) / a0,
    )
