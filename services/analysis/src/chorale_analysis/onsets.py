"""How much begins at each moment: the raw material of beats."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chorale_analysis.spectra import RATE_HZ, Array, Windows, mel_bands

Floats = npt.NDArray[np.float64]

HOP = 220
HOPS_PER_SECOND = RATE_HZ / HOP
CLASSES_PER_SECOND = HOPS_PER_SECOND / 2

_MEL_WINDOW, _MEL_BANDS, _MEL_LAG = 2048, 120, 2
_LOW_BANDS = 15  # of them, up to 500 Hz: where kick and bass are
_DEEP_BANDS, _HIGH_BAND = 5, 80
_CHROMA_WINDOW, _CHROMA_HOP, _CHROMA_LAG = 4096, 2 * HOP, 2
_LOWEST_HERTZ, _HIGHEST_HERTZ = 30.0, 11000.0
_MEL_GAIN, _CHROMA_GAIN = 1000.0, 100.0  # compression: log10(1 + gain x), x = 0.5 at full scale

# How much of the activation each kind of change makes. Chosen on the training side of the test
# material (beat F .76; the spectrum alone: .72).
_WEIGHTS = {"spectrum": 1.0, "low": 0.4, "harmony": 1.0}
_SMOOTH_HOPS = 5
_LOCAL_SECONDS = 4.0
_QUIET = 1e-2


@dataclass(frozen=True)
class Onsets:
    """Change at every hop, in deviations from what is usual around it."""

    strength: Floats
    raw: Floats  # at least 0, unnormalised
    deep: Floats  # that below 150 Hz alone, where a kick drum is
    high: Floats  # that above 4 kHz alone, where a snare's rattle and cymbals are
    classes: Array  # (hops / 2, 12): pitch classes, compressed

    @cached_property
    def bass(self) -> Floats:
        """How loud the low onsets are at every hop, in deviations."""
        return _standard(np.log(self.deep + _QUIET))

    @cached_property
    def treble(self) -> Floats:
        """How loud the high onsets are at every hop, in deviations."""
        return _standard(np.log(self.high + _QUIET))


class OnsetListener:
    """Hears new energy in a mono stream: per band, in the bass, and in the harmony.

    Spectral flux with a maximum filter over neighbouring bands, so that vibrato is no onset
    (Boeck and Widmer, DAFx 2013).
    """

    def __init__(self) -> None:
        self._mel = Windows(_MEL_WINDOW, HOP)
        self._chroma = Windows(_CHROMA_WINDOW, _CHROMA_HOP)
        self._bands = mel_bands(_MEL_WINDOW, _MEL_BANDS, _LOWEST_HERTZ, _HIGHEST_HERTZ)
        self._classes = pitch_classes(_CHROMA_WINDOW)
        self._spectrum_flux = _Flux(_MEL_LAG, widen=True)
        self._harmony_flux = _Flux(_CHROMA_LAG, widen=False)
        self._sounding: list[Array] = [np.zeros((0, 12), np.float32)]

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._hear(self._mel.push(block), self._chroma.push(block))

    def finish(self) -> Onsets:
        """All that began, once the stream has ended."""
        self._hear(self._mel.finish(), self._chroma.finish())
        spectrum = np.concatenate(self._spectrum_flux.of_all)
        low = np.concatenate(self._spectrum_flux.of_low)
        harmony = np.concatenate(self._harmony_flux.of_all)
        hops = np.arange(len(spectrum))
        harmony = np.interp(hops, np.arange(len(harmony)) * (_CHROMA_HOP / HOP), harmony)
        kinds = {"spectrum": spectrum, "low": low, "harmony": harmony}
        raw = sum(
            (weight * _scaled(kinds[kind]) for kind, weight in _WEIGHTS.items()),
            np.zeros(len(spectrum)),
        )
        raw = _smooth(raw, _SMOOTH_HOPS)
        return Onsets(
            strength=_standing_out(raw),
            raw=raw,
            deep=_smooth(np.concatenate(self._spectrum_flux.of_deep), _SMOOTH_HOPS),
            high=_smooth(np.concatenate(self._spectrum_flux.of_high), _SMOOTH_HOPS),
            classes=np.concatenate(self._sounding),
        )

    def _hear(self, mel: list[Array], chroma: list[Array]) -> None:
        for spectra in mel:
            self._spectrum_flux.push(np.log10(1.0 + _MEL_GAIN * (spectra @ self._bands)))
        for spectra in chroma:
            classes = np.log10(1.0 + _CHROMA_GAIN * (spectra @ self._classes))
            self._sounding.append(classes)
            self._harmony_flux.push(classes)


class _Flux:
    """Rise of every band over `lag` hops, told as means of all bands and of the low ones."""

    def __init__(self, lag: int, widen: bool) -> None:
        self._lag, self._widen = lag, widen
        self._carried: Array | None = None
        self.of_all: list[Floats] = [np.zeros(0)]
        self.of_low: list[Floats] = [np.zeros(0)]
        self.of_deep: list[Floats] = [np.zeros(0)]
        self.of_high: list[Floats] = [np.zeros(0)]

    def push(self, bands: Array) -> None:
        if self._carried is None:  # before the start it was as it is at the start
            self._carried = np.repeat(bands[:1], self._lag, axis=0)
        line = np.concatenate([self._carried, bands])
        before = line[: -self._lag]
        if self._widen:
            edged = np.pad(before, ((0, 0), (1, 1)), mode="edge")
            before = np.maximum(np.maximum(edged[:, :-2], edged[:, 1:-1]), edged[:, 2:])
        rise = np.maximum(0.0, line[self._lag :] - before)
        self.of_all.append(rise.mean(axis=1, dtype=np.float64))
        self.of_low.append(rise[:, :_LOW_BANDS].mean(axis=1, dtype=np.float64))
        if self._widen:
            self.of_deep.append(rise[:, :_DEEP_BANDS].mean(axis=1, dtype=np.float64))
            self.of_high.append(rise[:, _HIGH_BAND:].mean(axis=1, dtype=np.float64))
        self._carried = line[-self._lag :]


def pitch_classes(window: int) -> Array:
    """Which bins belong to which of the 12 pitch classes, 55 to 2000 Hz: `(bins, 12)`."""
    hertz = np.arange(window // 2 + 1) * RATE_HZ / window
    inside = np.flatnonzero((hertz > 55.0) & (hertz < 2000.0))
    pitch = np.round(12.0 * np.log2(hertz[inside] / 440.0) + 69.0).astype(int)
    classes = np.zeros((len(hertz), 12), np.float32)
    classes[inside, pitch % 12] = 1.0
    return classes


def _standard(values: Floats) -> Floats:
    found: Floats = (values - values.mean()) / (values.std() + 1e-9)
    return found


def _scaled(flux: Floats) -> Floats:
    scaled: Floats = flux / (flux.std() + 1e-9)
    return scaled


def _smooth(values: Floats, hops: int) -> Floats:
    shape = np.hanning(hops + 2)[1:-1]
    return np.convolve(values, shape / shape.sum(), "same")[: len(values)]


def _standing_out(values: Floats) -> Floats:
    """Deviation from the mean of the surrounding seconds, in standard deviations of them."""
    half = min(round(_LOCAL_SECONDS * HOPS_PER_SECOND / 2), len(values) - 1)
    padded = np.pad(values, half, mode="reflect")
    count = 2 * half + 1
    mean = _moving_sum(padded, count) / count
    variance = _moving_sum(padded**2, count) / count - mean**2
    floor = 1e-4 * float(values.std()) ** 2 + 1e-12
    outstanding: Floats = (values - mean) / np.sqrt(np.maximum(variance, floor))
    return outstanding


def _moving_sum(values: Floats, count: int) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(values)])
    moving: Floats = total[count:] - total[:-count]
    return moving
