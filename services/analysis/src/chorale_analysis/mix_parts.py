"""What Beat Transformer hears: log-mel spectra of the parts of a mix.

It was trained on five stems of Spleeter, and half of the time on two to four sums of them. Nothing
here takes a mix apart into stems. It is split by medians into what lasts and what strikes
(Fitzgerald, "Harmonic/Percussive Separation Using Median Filtering", DAFx 2010): two parts, of
which one is mostly drums. That is not what the published figures were measured with.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from chorale_analysis.spectra import Array

RATE_HZ, HOP = 44100, 1024
FRAMES_PER_SECOND = RATE_HZ / HOP
_WINDOW, _BANDS = 4096, 128
_LOW_HERTZ, _HIGH_HERTZ = 30.0, 11000.0
_LASTING_FRAMES, _STRIKING_BANDS = 31, 17  # .7 s, and some one and a half octaves
_RANGE_DB, _LEAST_POWER = 80.0, 1e-10
_FRAMES_AT_ONCE = 1024  # bounds memory

# Slaney's mel: linear up to 1 kHz, 27 steps for each factor of 6.4 above.
_LINEAR_HERTZ, _BREAK_HERTZ, _STEP = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0


class MelListener:
    """Keeps the mel power of a stream: frame n is of the 4096 samples before hop n's end.

    As the network was trained: windows begin a whole window before the sound.
    """

    rate_hz = RATE_HZ

    def __init__(self) -> None:
        self._pending = np.zeros(_WINDOW, np.float32)
        self._shape = np.hanning(_WINDOW + 1)[:_WINDOW].astype(np.float32)
        self._power: list[Array] = []

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._pending = np.concatenate([self._pending, block])
        count = (len(self._pending) - _WINDOW) // HOP + 1
        if count < 1:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._pending, _WINDOW)[::HOP]
        for first in range(0, count, _FRAMES_AT_ONCE):
            spectra = fft.rfft(windows[first : min(count, first + _FRAMES_AT_ONCE)] * self._shape)
            power = np.square(spectra.real) + np.square(spectra.imag)
            self._power.append(power @ bands())
        self._pending = self._pending[count * HOP :].copy()

    def finish(self) -> Array:
        """All of it: `(frames, 128)`."""
        self.push(np.zeros(_WINDOW, np.float32))
        return np.concatenate(self._power)


@cache
def bands() -> Array:
    """Triangles of equal area, evenly spaced in Slaney's mel: `(bins, 128)`."""
    edges = _hertz(np.linspace(_mel(_LOW_HERTZ), _mel(_HIGH_HERTZ), _BANDS + 2))
    bins = np.arange(_WINDOW // 2 + 1) * RATE_HZ / _WINDOW
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / (middle - low)
    falling = (high - bins[:, None]) / (high - middle)
    weights: Array = (np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (high - low)).astype(
        np.float32
    )
    return weights


def split(power: Array) -> Array:
    """What strikes and what lasts, `(2, frames, bands)`: each band's amplitude shared by masks."""
    lasting, striking = _medians(power.T, _LASTING_FRAMES).T, _medians(power, _STRIKING_BANDS)
    both = lasting + striking + _LEAST_POWER
    parts: Array = np.stack([power * np.square(part / both) for part in (striking, lasting)])
    return parts


def decibels(parts: Array) -> Array:
    """Each part against its own loudest, down to -80 dB."""
    level = 10.0 * np.log10(np.maximum(parts, _LEAST_POWER))
    level -= level.max(axis=(1, 2), keepdims=True)
    told: Array = np.maximum(level, -_RANGE_DB).astype(np.float32)
    return told


def _medians(rows: Array, width: int) -> Array:
    """Running medians along the last axis, mirrored at the ends."""
    half = width // 2
    found = np.empty(rows.shape, np.float32)
    padded = np.pad(rows, ((0, 0), (half, half)), mode="symmetric")
    step = max(1, _FRAMES_AT_ONCE * _BANDS // rows.shape[1])
    for first in range(0, len(rows), step):
        near = np.lib.stride_tricks.sliding_window_view(padded[first : first + step], width, axis=1)
        found[first : first + step] = np.partition(near, half, axis=2)[:, :, half]
    return found


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz / _LINEAR_HERTZ
    return float(_BREAK_HERTZ / _LINEAR_HERTZ + np.log(hertz / _BREAK_HERTZ) / _STEP)


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    knee = _BREAK_HERTZ / _LINEAR_HERTZ
    found: npt.NDArray[np.float64] = np.where(
        mel < knee, mel * _LINEAR_HERTZ, _BREAK_HERTZ * np.exp(_STEP * (mel - knee))
    )
    return found
