"""Accents that let the beat be heard: what is not on beats is turned down where it rivals them."""

from collections.abc import Sequence

import numpy as np

from chorale_generation.mosaic.pulse import Clarity, clarity
from chorale_generation.mosaic.spectra import Samples
from chorale_generation.mosaic.stretch import Floats

# Strokes at halves of a beat leave an octave of tempo in doubt, those at thirds make it another.
_CLEAR = Clarity(lead=1.25, lead_over_thirds=2.5, share=0.8)
_DEPTHS_DB = (0.0, 3.0, 6.0, 9.0)
_EARLY_SECONDS, _RISE_SECONDS = 0.01, 0.012
_FALL_BEATS = 0.12


def accented(
    voices: Sequence[Samples], rate_hz: int, first_seconds: float, beats: Floats
) -> list[Samples]:
    """The same voices, softer between evenly spaced beats than on them, as far as need be.

    Where what both sound together begins elsewhere as much as on beats the result would not have
    the beat that both tracks were brought to.
    """
    made = list(voices)
    for depth_db in _DEPTHS_DB:
        gain = _gain(depth_db, len(voices[0]), rate_hz, first_seconds, beats)
        made = [voice * gain[:, None] for voice in voices] if depth_db else list(voices)
        found = clarity(sum(made[1:], made[0]), rate_hz, first_seconds, beats)
        if found.reaches(_CLEAR):
            break
    return made


def _gain(
    depth_db: float, count: int, rate_hz: int, first_seconds: float, beats: Floats
) -> Samples:
    """Full from every beat on, then falling, until it rises to the next."""
    step = float(beats[1] - beats[0])
    moments = first_seconds + np.arange(count) / rate_hz + _EARLY_SECONDS
    since = np.mod(moments - beats[0], step)
    risen = 0.5 - 0.5 * np.cos(np.pi * np.minimum(since / _RISE_SECONDS, 1.0))
    fallen = 1.0 - np.exp(np.minimum(0.0, _RISE_SECONDS - since) / (_FALL_BEATS * step))
    down = np.where(since < _RISE_SECONDS, 1.0 - risen, fallen)
    gain: Samples = (10.0 ** (-depth_db * down / 20.0)).astype(np.float32)
    return gain
