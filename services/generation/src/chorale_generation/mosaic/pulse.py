"""How clearly sound beats where it shall."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import maximum_filter1d

from chorale_generation.mosaic.spectra import Samples, cut, hann, window_length
from chorale_generation.mosaic.stretch import Floats

_RISES_PER_SECOND, _LAG = 100, 2
_LATENCY_SECONDS = 0.01  # a rise over two steps is greatest this long before what begins
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 60, 40.0, 10_000.0
_COMPRESSION = 1000.0
_PLACES = 48  # of a beat, that rises are compared at
_LEAST_BEATS = 3
_THIRD_BEATS = 0.03  # how near to a third
_NEAR_SECONDS, _AROUND_SECONDS = 0.03, 0.12


@dataclass(frozen=True)
class Clarity:
    """How much begins on beats and not elsewhere."""

    lead: float  # what begins on beats, as a multiple of what begins at the best other place
    lead_over_thirds: float  # the same, of what begins a third of a beat before or after
    share: float  # of beats that more begins on than shortly before or after

    def reaches(self, other: "Clarity") -> bool:
        """Whether it is nowhere less."""
        return (
            self.lead >= other.lead
            and self.lead_over_thirds >= other.lead_over_thirds
            and self.share >= other.share
        )


def clarity(sound: Samples, rate_hz: int, first_seconds: float, beats: Floats) -> Clarity:
    """Compares what begins on beats, evenly spaced moments, with what begins between them."""
    step = float(beats[1] - beats[0])
    beats = beats[beats <= first_seconds + len(sound) / rate_hz]
    if len(beats) < _LEAST_BEATS:
        return Clarity(np.inf, np.inf, 1.0)
    begun = rises(sound, rate_hz)
    off = (np.arange(_PLACES) / _PLACES - 0.5) * step
    moments = (beats[:, None] + off[None, :]).ravel() - first_seconds - _LATENCY_SECONDS
    heard = np.interp(moments * _RISES_PER_SECOND, np.arange(len(begun)), begun)
    by_beat = heard.reshape(-1, _PLACES)
    far = np.abs(off)
    near, around = far <= _NEAR_SECONDS, (far > _NEAR_SECONDS) & (far <= _AROUND_SECONDS)
    thirds = np.abs(far / step - 1.0 / 3.0) <= _THIRD_BEATS
    mean = by_beat.mean(axis=0)
    lead, lead_over_thirds = (
        float(mean[near].max() / max(mean[others].max(), 1e-9)) for others in (~near, thirds)
    )
    on, beside = by_beat[:, near].max(axis=1), by_beat[:, around].max(axis=1)
    return Clarity(lead, lead_over_thirds, float(np.mean(on > beside)))


def rises(sound: Samples, rate_hz: int) -> Floats:
    """How much louder all bands become, 100 times a second; vibrato is no rise.

    A band is compared with the loudest of it and its neighbours before: Boeck and Widmer, "Maximum
    filter vibrato suppression for onset detection", DAFx 2013.
    """
    length, hop = window_length(rate_hz), rate_hz / _RISES_PER_SECOND
    count = int(len(sound) / hop) + 1
    starts = np.round(np.arange(count) * hop).astype(np.int64) - length // 2
    mono = sound.mean(axis=1, keepdims=True)
    magnitudes = np.abs(fft.rfft(cut(mono, starts, length)[:, 0] * hann(length), axis=-1))
    bands = np.log10(1.0 + _COMPRESSION * 2.0 / length * (magnitudes @ _bands(rate_hz, length)))
    before = maximum_filter1d(np.pad(bands, ((_LAG, 0), (0, 0)), mode="edge")[:-_LAG], 3, axis=1)
    rise = np.maximum(0.0, bands - before).mean(axis=1, dtype=np.float64)
    smooth: Floats = np.convolve(rise, np.array([0.25, 0.5, 0.25]), "same")
    return smooth


@functools.cache
def _bands(rate_hz: int, length: int) -> npt.NDArray[np.float32]:
    """Which bins belong to which band, narrow below and wide above."""
    edges = np.geomspace(_LOWEST_HZ, min(_HIGHEST_HZ, 0.45 * rate_hz), _BANDS + 1)
    hertz = np.arange(length // 2 + 1) * rate_hz / length
    edges += np.arange(_BANDS + 1) * rate_hz / length  # a bin at least
    inside = (hertz[:, None] >= edges[:-1]) & (hertz[:, None] < edges[1:])
    return inside.astype(np.float32)
