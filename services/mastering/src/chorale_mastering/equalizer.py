"""Tone: profiles as documented curves, parametric bands on top, in minimum or linear phase."""

from collections.abc import Sequence

import numpy as np

from chorale_mastering import biquad
from chorale_mastering.biquad import Cascade
from chorale_mastering.block import Processor
from chorale_mastering.convolution import Convolution, Gains, linear_phase
from chorale_mastering.tone import PROFILES, BandTooHigh, EqBand, EqPhase, EqProfile, EqShape
from chorale_mastering.weighting import Biquad

_SHELVES_AND_BELLS = {
    EqShape.PEAK: biquad.peak,
    EqShape.LOW_SHELF: biquad.low_shelf,
    EqShape.HIGH_SHELF: biquad.high_shelf,
}
_PASSES = {EqShape.HIGH_PASS: biquad.high_pass, EqShape.LOW_PASS: biquad.low_pass}

# A linear-phase filter resolves what fits this long; at 48 kHz that is 4097 taps and 43 ms.
_LINEAR_SECONDS = 0.0854


def designed(bands: Sequence[EqBand], sample_rate_hz: int) -> tuple[Biquad, ...]:
    """The filters of these bands; raises `BandTooHigh` at and above half the rate."""
    for band in bands:
        if band.frequency_hz >= sample_rate_hz / 2:
            raise BandTooHigh(band.frequency_hz, sample_rate_hz / 2)
    return tuple(_designed(band, sample_rate_hz) for band in bands)


def profile_bands(profile: EqProfile, sample_rate_hz: int) -> tuple[EqBand, ...]:
    """The bands of a profile, less those that lie above what this rate carries."""
    highest = biquad.HIGHEST_CORNER * sample_rate_hz
    return tuple(band for band in PROFILES[profile] if band.frequency_hz < highest)


def equalizer(
    bands: Sequence[EqBand], phase: EqPhase, sample_rate_hz: int, channel_count: int
) -> Processor:
    """The processor of these bands. Linear phase has the same curve and no phase."""
    stages = designed(bands, sample_rate_hz)
    if phase is EqPhase.MINIMUM:
        return Cascade(stages, channel_count)
    taps = linear_phase(
        lambda hertz: magnitude(stages, hertz, sample_rate_hz),
        linear_tap_count(sample_rate_hz),
        sample_rate_hz,
    )
    return Convolution(taps, channel_count)


def linear_tap_count(sample_rate_hz: int) -> int:
    """An odd length near a power of 2, the same time at every rate."""
    return (1 << (round(_LINEAR_SECONDS * sample_rate_hz) - 1).bit_length()) - 1


def magnitude(stages: Sequence[Biquad], hertz: Gains, sample_rate_hz: int) -> Gains:
    """The gain of a cascade at many frequencies."""
    z = np.exp(-2j * np.pi * hertz / sample_rate_hz)
    total = np.ones(len(hertz))
    for s in stages:
        total *= np.abs((s.b0 + s.b1 * z + s.b2 * z * z) / (1.0 + s.a1 * z + s.a2 * z * z))
    return total


def _designed(band: EqBand, sample_rate_hz: int) -> Biquad:
    if band.shape in _PASSES:
        return _PASSES[band.shape](band.frequency_hz, band.q, sample_rate_hz)
    design = _SHELVES_AND_BELLS[band.shape]
    return design(band.frequency_hz, band.gain_db, band.q, sample_rate_hz)
