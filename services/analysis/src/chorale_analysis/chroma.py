"""How much of each pitch class sounds when, whatever the music is tuned to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_analysis.spectra import RATE_HZ, Array, Windows

WINDOW, HOP = 8192, 2048
HOPS_PER_SECOND = RATE_HZ / HOP

_LOW_HERTZ, _HIGH_HERTZ = 55.0, 2000.0
_FAINTEST = 1e-4  # peaks this much below the greatest are noise
_BINS = 120  # an octave in steps of 10 cents
_CENTS = 1200 // _BINS

# Where there is harmony. Of the power of clicks .04 to .57 is in peaks, of DC none; of music from
# .69. A tone is one pitch class, a hum up to 1.4. Over 2 s each, the pitch classes of noise are
# alike (spread over mean: .1 to .23), those of speech nearly so (.36), those of music differ at
# times (.55 and more in a tenth of it).
_PEAKS_LEAST, _CLASSES_LEAST = 0.1, 1.5
_SPREAD_OF_NOISE, _SPREAD_OF_MUSIC = 0.25, 0.5
_STRETCH_SECONDS, _STRETCH_PERCENTILE = 2.0, 90


@dataclass(frozen=True)
class Chroma:
    """Pitch classes over time: `(hops, 12)`, every hop of length 1 or, where faint, less."""

    classes: npt.NDArray[np.float64]
    tuning_cents: float  # against A4 = 440 Hz, in [-50, 50]
    peak_share: float  # of the power, that of spectral peaks, in [0, 1] or so


class ChromaListener:
    """Hears pitch in a mono stream, by interpolated peaks of long spectra.

    Peaks are kept at 10 cents until the end, when it is known how the music was tuned.
    """

    def __init__(self) -> None:
        self._windows = Windows(WINDOW, HOP)
        self._octaves: list[npt.NDArray[np.float64]] = [np.zeros((0, _BINS))]
        self._in_peaks = self._in_all = 0.0

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self.hear(self._windows.push(block))

    def finish(self) -> Chroma:
        """All pitch classes, once the stream has ended."""
        self.hear(self._windows.finish())
        return self.classes()

    def classes(self) -> Chroma:
        """The pitch classes of all spectra heard so far."""
        octaves = np.concatenate(self._octaves)
        tuning = tuning_cents(octaves.sum(axis=0))
        classes = folded(octaves, tuning)
        length = np.linalg.norm(classes, axis=1, keepdims=True)
        floor = 1e-3 * float(length.max(initial=0.0)) + 1e-12
        return Chroma(classes / np.maximum(length, floor), tuning, self.peak_share)

    @property
    def peak_share(self) -> float:
        """Of the power so far, that of spectral peaks."""
        return self._in_peaks / self._in_all if self._in_all else 0.0

    def taken(self) -> npt.NDArray[np.float64]:
        """What sounded at each step of 10 cents since this was last taken: `(hops, 120)`."""
        octaves = np.concatenate(self._octaves)
        self._octaves = [np.zeros((0, _BINS))]
        return octaves

    def hear(self, batches: list[Array]) -> None:
        """Listens to spectra that another listener has already made, of `WINDOW` and `HOP`."""
        low, high = (int(hertz * WINDOW / RATE_HZ) for hertz in (_LOW_HERTZ, _HIGH_HERTZ))
        for spectra in batches:
            heard = spectra[:, low - 1 : high + 1]
            level = np.log(np.maximum(heard, 1e-9))
            before, here, after = level[:, :-2], level[:, 1:-1], level[:, 2:]
            is_peak = (here > before) & (here >= after)
            is_peak &= heard[:, 1:-1] > _FAINTEST * max(float(spectra.max()), 1e-6)
            hop, place = np.nonzero(is_peak)
            a, b, c = before[hop, place], here[hop, place], after[hop, place]
            shift = 0.5 * (a - c) / np.minimum(a - 2.0 * b + c, -1e-9)
            hertz = (low + place + shift) * RATE_HZ / WINDOW
            magnitude = np.exp(b - 0.25 * (a - c) * shift)
            bins = np.round(12.0 * np.log2(hertz / 440.0) * 10.0 + 90.0).astype(int) % _BINS
            octaves = np.zeros((len(spectra), _BINS))
            np.add.at(octaves, (hop, bins), magnitude)
            self._octaves.append(octaves)
            # A tone puts 1.5 times its peak power into the three bins of a Hann window's lobe.
            self._in_peaks += 1.5 * float(np.sum(magnitude**2))
            self._in_all += float(np.sum(np.square(heard, dtype=np.float64)))


def class_count(classes: npt.NDArray[np.float64]) -> float:
    """How many pitch classes share the sound, as if each had as much of it; 0 for none."""
    power = float(np.sum(np.square(classes)))
    return float(classes.sum()) ** 2 / power if power > 0.0 else 0.0


def harmonic(chroma: Chroma) -> float:
    """How surely there is harmony, in [0, 1]: none in noise, a single tone or DC."""
    if chroma.peak_share < _PEAKS_LEAST or not len(chroma.classes):
        return 0.0
    count = max(1, round(len(chroma.classes) / (_STRETCH_SECONDS * HOPS_PER_SECOND)))
    means = np.stack([part.mean(axis=0) for part in np.array_split(chroma.classes, count)])
    if class_count(means.mean(axis=0)) < _CLASSES_LEAST:
        return 0.0
    spreads = means.std(axis=1) / np.maximum(means.mean(axis=1), 1e-9)
    spread = float(np.percentile(spreads, _STRETCH_PERCENTILE))
    rise = (spread - _SPREAD_OF_NOISE) / (_SPREAD_OF_MUSIC - _SPREAD_OF_NOISE)
    return float(np.clip(rise, 0.0, 1.0))


def tuning_cents(octave: npt.NDArray[np.float64]) -> float:
    """How far from A4 = 440 Hz an octave of 120 steps is tuned, in [-50, 50]."""
    tuned = np.sum(octave * np.exp(2j * np.pi * np.arange(_BINS) * _CENTS / 100.0))
    return 100.0 * float(np.angle(tuned)) / (2.0 * np.pi)


def folded(octaves: npt.NDArray[np.float64], tuned_cents: float) -> npt.NDArray[np.float64]:
    """Octaves of 120 steps as pitch classes of this tuning."""
    turns = np.arange(_BINS) * _CENTS / 100.0  # semitones
    away = turns[:, None] - tuned_cents / 100.0 - np.arange(12)  # (120, 12)
    away -= 12.0 * np.round(away / 12.0)
    belongs = np.where(np.abs(away) < 0.5, np.cos(np.pi * away) ** 2, 0.0)
    classes: npt.NDArray[np.float64] = octaves @ belongs
    return classes
