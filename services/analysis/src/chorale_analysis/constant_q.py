"""Constant-Q magnitudes: how much sounds at each of many pitches, all with the same resolution.

The transform of Brown (J. Acoust. Soc. Am. 89, 1991), by one Fourier transform of a long stretch:
what a pitch's window lets pass is folded to the rate of the hops, which is decimation without a
filter, and transformed back. Nothing is resampled. Scaled as librosa's: a window's length matters
by its square root.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from chorale_analysis.spectra import Array

Floats = npt.NDArray[np.float64]

_LOBES = 16  # of a window's spectrum are kept to either side: beyond, it is below 1e-4
_BLOCK_FRAMES = 1 << 20  # of sound at once: 48 s at 22.05 kHz


@dataclass(frozen=True)
class Pitches:
    """Which pitches are heard: `count` of them upward from `lowest_hertz`."""

    rate_hz: int
    lowest_hertz: float
    count: int
    per_octave: int

    @property
    def hertz(self) -> Floats:
        """Of each."""
        steps: Floats = 2.0 ** (np.arange(self.count) / self.per_octave)
        return self.lowest_hertz * steps

    @property
    def lengths(self) -> Floats:
        """How long each pitch's window is, in frames: neighbours but one touch."""
        ratio = 2.0 ** (2.0 / self.per_octave)
        found: Floats = (ratio + 1.0) / (ratio - 1.0) * self.rate_hz / self.hertz
        return found


def magnitudes(sound: Array, pitches: Pitches, hop: int) -> Array:
    """`(len(sound) // hop + 1, pitches.count)`: windows centred on every hop, silence around."""
    margin = -(-int(pitches.lengths.max()) // (2 * hop)) + 1  # hops that the longest window reaches
    count = len(sound) // hop + 1
    room = max(1, _BLOCK_FRAMES // hop - 2 * margin)
    hops = fft.next_fast_len(min(room, count) + 2 * margin)
    bands = _bands(pitches, hops * hop)
    found = np.zeros((count, pitches.count), np.float32)
    for first in range(0, count, hops - 2 * margin):
        start = (first - margin) * hop
        block = np.zeros(hops * hop, np.float32)
        piece = sound[max(0, start) : start + len(block)]
        block[max(0, -start) : max(0, -start) + len(piece)] = piece
        last = min(count, first + hops - 2 * margin)
        heard = _heard(fft.rfft(block), bands, hops)
        found[first:last] = heard[margin : margin + last - first]
    return found


@dataclass(frozen=True)
class _Band:
    """What one window lets pass, from a bin of the long transform on."""

    first: int
    weights: Array


@lru_cache(4)
def _bands(pitches: Pitches, size: int) -> tuple[_Band, ...]:
    bands = []
    for hertz, length in zip(pitches.hertz, pitches.lengths, strict=True):
        middle, reach = hertz * size / pitches.rate_hz, _LOBES * size / length
        first = max(0, int(np.ceil(middle - reach)))
        bins = np.arange(first, min(size // 2, int(middle + reach)) + 1)
        weights = window_response(2.0 * np.pi * (bins - middle) / size, length)
        bands.append(_Band(first, (weights * np.sqrt(length)).astype(np.float32)))
    return tuple(bands)


def _heard(spectrum: npt.NDArray[np.complex64], bands: tuple[_Band, ...], hops: int) -> Array:
    """Folding turns a pitch's phase from hop to hop, which its magnitude does not tell."""
    folded = np.zeros((len(bands), hops), np.complex64)
    for number, band in enumerate(bands):
        passed = spectrum[band.first : band.first + len(band.weights)] * band.weights
        whole = len(passed) // hops * hops
        folded[number] = passed[:whole].reshape(-1, hops).sum(axis=0)
        folded[number, : len(passed) - whole] += passed[whole:]
    # The long transform counts all its frames, this one only hops.
    scale = hops / (2.0 * (len(spectrum) - 1))
    heard: Array = np.abs(fft.ifft(folded, axis=1)).T * np.float32(scale)
    return heard


def window_response(turns: Floats, length: float) -> Floats:
    """The spectrum of a Hann window around 0 at these angles per frame; 1 at 0."""
    half = int(length / 2.0)
    step = 2.0 * np.pi / length

    def bare(angle: Floats) -> Floats:
        sine = np.sin(angle / 2.0)
        flat = np.abs(sine) < 1e-12
        found: Floats = np.where(
            flat,
            2.0 * half + 1.0,
            np.sin((2.0 * half + 1.0) * angle / 2.0) / np.where(flat, 1.0, sine),
        )
        return found

    def hann(angle: Floats) -> Floats:
        return 0.5 * bare(angle) + 0.25 * (bare(angle - step) + bare(angle + step))

    found: Floats = hann(turns) / hann(np.zeros(1))[0]
    return found
