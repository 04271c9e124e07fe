"""How much begins at each moment, told while it plays: the causal sister of `onsets`."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from chorale_analysis.onsets import HOP, Floats, pitch_classes
from chorale_analysis.spectra import Array, Windows, mel_bands

_MEL_WINDOW, _MEL_BANDS, _LOW_BANDS = 2048, 120, 15
_CHROMA_WINDOW, _CHROMA_HOP = 4096, 2 * HOP
_LAG = 2  # hops over which energy must rise
_LOWEST_HERTZ, _HIGHEST_HERTZ = 30.0, 11000.0
_MEL_GAIN, _CHROMA_GAIN = 1000.0, 100.0
_WEIGHTS = np.array([1.0, 0.4, 1.0])  # spectrum, bass, harmony, as in `onsets`
_USUAL_HOPS = 400  # what is usual: the last 4 s
_SCALE_HOPS = 3000.0  # how strong each kind is: the last 30 s
# What each kind's deviation is taken to be before anything was heard, and for how many hops.
_EARLY_DEVIATION, _EARLY_HOPS = 0.02, 50.0


@dataclass(frozen=True)
class Strength:
    """Change at successive hops: in deviations from the usual before, and unnormalised."""

    standing_out: Floats
    raw: Floats


class StrengthListener:
    """Hears new energy in a mono stream, by what came before alone."""

    def __init__(self) -> None:
        self._mel = Windows(_MEL_WINDOW, HOP)
        self._chroma = Windows(_CHROMA_WINDOW, _CHROMA_HOP)
        self._bands = mel_bands(_MEL_WINDOW, _MEL_BANDS, _LOWEST_HERTZ, _HIGHEST_HERTZ)
        self._classes = pitch_classes(_CHROMA_WINDOW)
        self._bands_before: Array | None = None
        self._classes_before: Array | None = None
        self._spectrum: Array = np.zeros((0, 2), np.float32)  # of all bands, of the low ones
        self._harmony: Array = np.zeros(0, np.float32)
        self._first_half = True  # whether the next hop is the first of two with one harmony
        self._scale = np.array([[_EARLY_HOPS, 0.0, _EARLY_HOPS * _EARLY_DEVIATION**2]] * 3)
        self._ring = np.zeros(_USUAL_HOPS + 6)
        self._count = np.zeros(1, np.int64)

    def push(self, block: Array) -> Strength:
        """Listens to the next mono block; what it completes."""
        return self._hear(self._mel.push(block), self._chroma.push(block))

    def finish(self) -> Strength:
        """What reaches past the end."""
        return self._hear(self._mel.finish(), self._chroma.finish())

    def _hear(self, mel: list[Array], chroma: list[Array]) -> Strength:
        for spectra in mel:
            bands = np.log10(1.0 + _MEL_GAIN * (spectra @ self._bands))
            rise, self._bands_before = _rise(bands, self._bands_before, widen=True)
            both = np.stack([rise.mean(axis=1), rise[:, :_LOW_BANDS].mean(axis=1)], axis=1)
            self._spectrum = np.concatenate([self._spectrum, both])
        for spectra in chroma:
            classes = np.log10(1.0 + _CHROMA_GAIN * (spectra @ self._classes))
            rise, self._classes_before = _rise(classes, self._classes_before, widen=False)
            self._harmony = np.concatenate([self._harmony, rise.mean(axis=1)])
        return self._told()

    def _told(self) -> Strength:
        """The hops for which both spectra have come."""
        known = 2 * len(self._harmony) - (not self._first_half)
        count = max(0, min(len(self._spectrum), known))
        places = (np.arange(count) + (not self._first_half)) // 2
        heard = np.column_stack([self._spectrum[:count], self._harmony[places]])
        self._spectrum = self._spectrum[count:]
        used = (count + (not self._first_half)) // 2
        self._harmony = self._harmony[used:]
        self._first_half = (count % 2 == 0) == self._first_half
        standing_out, raw = np.empty(count), np.empty(count)
        _stand_out(
            heard.astype(np.float64), self._scale, self._ring, self._count, standing_out, raw
        )
        # The smoothing looks two hops ahead: the first two told lie before the sound.
        early = max(0, min(count, 2 - (int(self._count[0]) - count)))
        return Strength(standing_out[early:], raw[early:])


def _rise(bands: Array, before: Array | None, widen: bool) -> tuple[Array, Array]:
    """How much each band rose over `_LAG` hops, and what to keep for the next."""
    if before is None:  # before the start it was as it is at the start
        before = np.repeat(bands[:1], _LAG, axis=0)
    line = np.concatenate([before, bands])
    past = line[:-_LAG]
    if widen:
        edged = np.pad(past, ((0, 0), (1, 1)), mode="edge")
        past = np.maximum(np.maximum(edged[:, :-2], edged[:, 1:-1]), edged[:, 2:])
    rise: Array = np.maximum(0.0, line[_LAG:] - past)
    return rise, line[-_LAG:].copy()


@njit(cache=True, nogil=True)
def _stand_out(heard, scale, ring, count, standing_out, raws):  # type: ignore[no-untyped-def]
    """Scales, sums, smooths and likens to the usual, hop by hop; `ring` keeps the last sums.

    `ring[:5]` are the last five sums, the rest smoothed values of the last seconds.
    """
    usual = len(ring) - 6
    for hop in range(len(heard)):
        total = 0.0
        for kind in range(3):
            known, mean, squares = scale[kind, 0], scale[kind, 1], scale[kind, 2]
            value = heard[hop, kind]
            if known >= _SCALE_HOPS:
                known *= 1.0 - 1.0 / _SCALE_HOPS
                squares *= 1.0 - 1.0 / _SCALE_HOPS
            known += 1.0
            away = value - mean
            mean += away / known
            squares += away * (value - mean)
            scale[kind, 0], scale[kind, 1], scale[kind, 2] = known, mean, squares
            total += _WEIGHTS[kind] * value / (np.sqrt(squares / known) + 1e-9)
        for place in range(4):
            ring[place] = ring[place + 1]
        ring[4] = total
        # A Hann window of five hops.
        smooth = (0.25 * (ring[0] + ring[4]) + 0.75 * (ring[1] + ring[3]) + ring[2]) / 3.0
        at = count[0] % usual
        ring[6 + at] = smooth
        count[0] += 1
        filled = min(count[0], usual)
        mean, power = 0.0, 0.0
        for place in range(filled):
            mean += ring[6 + place]
        mean /= filled
        for place in range(filled):
            power += (ring[6 + place] - mean) ** 2
        standing_out[hop] = (smooth - mean) / np.sqrt(max(power / filled, 1e-4))
        raws[hop] = smooth
