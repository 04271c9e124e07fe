"""Where in its song a snippet lies, by how its spectrum moves."""

import numpy as np
from scipy import fft

from chorale_analysis.onsets import Floats
from chorale_analysis.spectra import RATE_HZ, Array, Windows, mel_bands
from chorale_analysis.structure import LEAST_VARIETY, NotDistinctive, Place

_WINDOW, _HOP, _BANDS = 4096, 1024, 40
_LOWEST_HERTZ, _HIGHEST_HERTZ = 40.0, 10_000.0
_FAINT = 1e-4  # log power is measured above this, so that silence is level
_LEAST_SOUNDING_SECONDS = 0.5
_SMOOTH_HOPS = 4  # fluctuations of noise from hop to hop say nothing


class BandListener:
    """Hears the power of mel bands over time."""

    rate_hz = RATE_HZ

    def __init__(self) -> None:
        self._windows = Windows(_WINDOW, _HOP)
        self._mel = mel_bands(_WINDOW, _BANDS, _LOWEST_HERTZ, _HIGHEST_HERTZ)
        self._bands: list[Array] = [np.zeros((0, _BANDS), np.float32)]

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._hear(self._windows.push(block))

    def find(self) -> Floats:
        """Log power of every band at every hop: `(hops, bands)`."""
        self._hear(self._windows.finish())
        return np.concatenate(self._bands).astype(np.float64)

    def _hear(self, batches: list[Array]) -> None:
        self._bands += [np.log10(_FAINT + spectra @ self._mel) for spectra in batches]


def locate(snippet: Floats, song: Floats) -> Place:
    """The place in the song where a snippet sounds most alike; raises `NotDistinctive`."""
    variety = _variety(snippet)
    if variety < LEAST_VARIETY:
        raise NotDistinctive(round(variety, 4), LEAST_VARIETY)
    if len(snippet) > len(song):
        return Place(0.0, 0.0)
    likeness = _likeness(snippet, song)
    best = int(likeness.argmax())
    shift = 0.0
    if 0 < best < len(likeness) - 1:
        before, here, after = likeness[best - 1 : best + 2]
        curve = before - 2.0 * here + after
        shift = 0.5 * (before - after) / curve if curve < -1e-12 else 0.0
    seconds = (best + float(np.clip(shift, -0.5, 0.5))) * _HOP / RATE_HZ
    return Place(max(0.0, seconds), float(likeness[best]))


def _variety(bands: Floats) -> float:
    """How much bands move over time, where anything sounds; 0 for less than half a second."""
    sounding = bands.max(axis=1) > np.log10(_FAINT) + 0.3
    if sounding.sum() < _LEAST_SOUNDING_SECONDS * RATE_HZ / _HOP:
        return 0.0
    heard = bands[sounding]
    count = max(1, min(_SMOOTH_HOPS, len(heard) // 2))
    total = np.concatenate([np.zeros((1, _BANDS)), np.cumsum(heard, axis=0)])
    smooth = (total[count:] - total[:-count]) / count
    return float(smooth.std(axis=0).mean())


def _likeness(snippet: Floats, song: Floats) -> Floats:
    """Correlation of the snippet with every stretch of the song that is as long."""
    count = len(snippet)
    wanted = snippet - snippet.mean(axis=0)
    size = fft.next_fast_len(len(song) + count)
    spectra = fft.rfft(song, size, axis=0) * np.conj(fft.rfft(wanted, size, axis=0))
    product = fft.irfft(spectra.sum(axis=1), size)[: len(song) - count + 1]
    total = np.concatenate([np.zeros((1, song.shape[1])), np.cumsum(song, axis=0)])
    squares = np.concatenate([np.zeros((1, song.shape[1])), np.cumsum(song**2, axis=0)])
    sums, powers = total[count:] - total[:-count], squares[count:] - squares[:-count]
    spread = np.maximum(0.0, (powers - sums**2 / count).sum(axis=1))
    own = float((wanted**2).sum())
    floor = 1e-3 * own
    likeness: Floats = product / np.sqrt(np.maximum(spread, floor) * own)
    return likeness
