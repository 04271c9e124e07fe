"""Percussive and harmonic parts of a sound.

Median filters along time and along frequency: Fitzgerald, "Harmonic/Percussive Separation using
Median Filtering", DAFx 2010, with soft masks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from chorale_generation.mosaic.spectra import Samples, analysed, centres, laid, window_length

_TIME_WINDOWS, _FREQUENCY_BINS = 17, 17


@dataclass(frozen=True)
class Parts:
    """Both together are the sound."""

    percussive: Samples
    harmonic: Samples


def parts(sound: Samples, sample_rate_hz: int) -> Parts:
    """Takes a sound apart; the masks are common to all channels, so that the image stays."""
    length = window_length(sample_rate_hz)
    spectra = analysed(sound, centres(len(sound), length) - length // 2, length)
    loudness = np.abs(spectra).mean(axis=1)
    steady = median_filter(loudness, size=(_TIME_WINDOWS, 1), mode="nearest") ** 2
    sudden = median_filter(loudness, size=(1, _FREQUENCY_BINS), mode="nearest") ** 2
    mask = (sudden / np.maximum(sudden + steady, 1e-20)).astype(np.float32)
    percussive = laid(spectra * mask[:, None, :], length, len(sound))
    return Parts(percussive, sound - percussive)


def percussive_share(sound: Samples, sample_rate_hz: int) -> float:
    """The share of the power that is percussive, in [0, 1]."""
    taken = parts(sound, sample_rate_hz)
    strokes, tones = (
        float(np.square(part, dtype=np.float64).sum())
        for part in (taken.percussive, taken.harmonic)
    )
    return strokes / max(strokes + tones, 1e-12)
