"""Magnitude spectra of sound that comes in blocks."""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft  # five times as fast as numpy.fft on rows of float32

# All listening is done at this rate, in one channel: it keeps what is below 10 kHz, where beats
# and harmony live, at half the cost of 44.1 kHz.
RATE_HZ = 22050

Array = npt.NDArray[np.float32]

_WINDOWS_AT_ONCE = 256  # bounds memory: 256 spectra of 8192 points are 4 MB


class Windows:
    """Cuts a stream into overlapping windows centred on hop 0, 1, 2, ... of the sound.

    What lies before the start and after the end is silence, so that n frames have n // hop + 1
    windows, however they came.
    """

    def __init__(self, length: int, hop: int) -> None:
        self._length, self._hop = length, hop
        self._shape = np.hanning(length + 1)[:length].astype(np.float32)
        self._shape *= 2.0 / length  # a full-scale tone reads 0.5
        self._pending = np.zeros(length // 2, np.float32)
        self._count = self._left = 0

    def push(self, block: Array) -> list[Array]:
        """Magnitude spectra `(windows, length // 2 + 1)` that this mono block completes."""
        self._count += len(block)
        self._pending = np.concatenate([self._pending, block])
        return self._spectra()

    def finish(self) -> list[Array]:
        """The spectra that reach past the end."""
        missing = self._count // self._hop + 1 - self._left
        room = (missing - 1) * self._hop + self._length - len(self._pending)
        self._pending = np.concatenate([self._pending, np.zeros(max(0, room), np.float32)])
        return self._spectra(missing)

    def _spectra(self, most: int | None = None) -> list[Array]:
        count = max(0, (len(self._pending) - self._length) // self._hop + 1)
        count = count if most is None else min(count, most)
        if not count:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(self._pending, self._length)
        found = [
            np.abs(fft.rfft(windows[start : start + batch * self._hop : self._hop] * self._shape))
            for first in range(0, count, _WINDOWS_AT_ONCE)
            for start, batch in [(first * self._hop, min(_WINDOWS_AT_ONCE, count - first))]
        ]
        self._pending = self._pending[count * self._hop :].copy()
        self._left += count
        return found


@cache
def mel_bands(window: int, count: int, low_hertz: float, high_hertz: float) -> Array:
    """Triangles, evenly spaced in mel, each of weight 1: `(window // 2 + 1, count)`."""
    edges = _hertz(np.linspace(_mel(low_hertz), _mel(high_hertz), count + 2))
    bins = np.arange(window // 2 + 1) * RATE_HZ / window
    width = RATE_HZ / window  # no triangle is narrower than a bin
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / np.maximum(middle - low, width)
    falling = (high - bins[:, None]) / np.maximum(high - middle, width)
    bands = np.maximum(0.0, np.minimum(rising, falling))
    bands /= np.maximum(bands.sum(axis=0), 1e-9)
    weights: Array = bands.astype(np.float32)
    return weights


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    hertz: npt.NDArray[np.float64] = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return hertz
