"""Strokes that let the beat be heard: those between beats are turned down where they rival it."""

import numpy as np

from chorale_generation.mosaic.spectra import Samples
from chorale_generation.mosaic.stretch import Floats

_NEAR_SECONDS = 0.05
_BETWEEN_MOST = 0.12  # power between beats, of that on them
_SOFTEST = 0.5


def accented(strokes: Samples, rate_hz: int, first_seconds: float, beats: Floats) -> Samples:
    """The same strokes, softer the further they are from evenly spaced beats, where need be.

    A rhythm that is as strong between its beats as on them is heard at either place, and then the
    result has not the beat that both tracks were brought to.
    """
    rivalry = _rivalry(strokes, rate_hz, first_seconds, beats)
    softest = min(1.0, max(_SOFTEST, (_BETWEEN_MOST / rivalry) ** 0.5))
    if softest == 1.0:
        return strokes
    moments = first_seconds + np.arange(len(strokes)) / rate_hz
    turn = 2.0 * np.pi * (moments - beats[0]) / (beats[1] - beats[0])
    gain = softest + (1.0 - softest) * (0.5 + 0.5 * np.cos(turn))
    made: Samples = strokes * gain.astype(np.float32)[:, None]
    return made


def _rivalry(strokes: Samples, rate_hz: int, first_seconds: float, beats: Floats) -> float:
    """The power of strokes midway between beats, as a share of that on beats."""
    power = np.square(strokes, dtype=np.float64).sum(axis=1)
    reach = round(_NEAR_SECONDS * rate_hz)

    def mean(moments: Floats) -> float:
        places = np.round((moments - first_seconds) * rate_hz).astype(np.int64)
        near = [power[max(0, at - reach) : at + reach] for at in places if 0 <= at < len(power)]
        return float(np.mean([part.mean() for part in near])) if near else 0.0

    return mean((beats[1:] + beats[:-1]) / 2.0) / max(mean(beats), 1e-12) + 1e-9
