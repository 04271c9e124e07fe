"""Short-time spectra of short sound, there and back."""

import math

import numpy as np
import numpy.typing as npt
from scipy import fft

Samples = npt.NDArray[np.float32]  # (frames, channels)
Spectra = npt.NDArray[np.complex64]  # (windows, channels, bins)

_WINDOW_SECONDS = 0.085
OVERLAP = 4


def window_length(sample_rate_hz: int) -> int:
    """The power of two that is nearest to 85 ms."""
    return int(2 ** round(math.log2(_WINDOW_SECONDS * sample_rate_hz)))


def hann(length: int) -> npt.NDArray[np.float32]:
    """A periodic Hann window."""
    return np.hanning(length + 1)[:-1].astype(np.float32)


def cut(sound: Samples, starts: npt.NDArray[np.int64], length: int) -> Samples:
    """Windows `(starts, channels, length)` of a sound that is silent outside."""
    before = max(0, -int(starts.min(initial=0)))
    after = max(0, int(starts.max(initial=0)) + length - len(sound))
    padded = np.pad(sound, ((before, after), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)
    windows: Samples = view[starts + before]
    return windows


def analysed(sound: Samples, starts: npt.NDArray[np.int64], length: int) -> Spectra:
    """The spectra of windows that begin at `starts`."""
    spectra: Spectra = fft.rfft(cut(sound, starts, length) * hann(length), axis=-1)
    return spectra


def laid(spectra: Spectra, length: int, frame_count: int) -> Samples:
    """Sound of windows that are a quarter of their length apart, the first centred on frame 0."""
    hop, shape = length // OVERLAP, hann(length)
    windows = fft.irfft(spectra, length, axis=-1).astype(np.float32) * shape
    total = len(windows) * hop + length
    sound = np.zeros((total, spectra.shape[1]), np.float32)
    weight = np.zeros(total, np.float32)
    for number, window in enumerate(windows):
        at = slice(number * hop, number * hop + length)
        sound[at] += window.T
        weight[at] += shape**2
    middle = length // 2
    made: Samples = sound[middle:][:frame_count]
    made /= np.maximum(weight[middle:][:frame_count], np.float32(1e-3))[:, None]
    return np.pad(made, ((0, frame_count - len(made)), (0, 0)))


def centres(frame_count: int, length: int) -> npt.NDArray[np.int64]:
    """Where windows are centred that `laid` makes so many frames of."""
    hop = length // OVERLAP
    return np.arange(frame_count // hop + 2, dtype=np.int64) * hop
