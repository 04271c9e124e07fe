"""What Chord-CNN-LSTM hears: a constant-Q transform in the tuning of the recording.

High pitches, whose windows are shorter than two hops, are told from the magnitudes of a common
short transform, as librosa's `hybrid_cqt` tells them: that is what the network learned from.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import fft

from chorale_analysis.constant_q import Floats, Pitches, magnitudes, window_response
from chorale_analysis.spectra import Array

_FRAMES_AT_ONCE = 1024  # bounds memory
_WINDOW, _WINDOW_HOP = 2048, 512  # of the spectra that tuning is told from
_LOW_HERTZ, _HIGH_HERTZ = 150.0, 4000.0  # of the peaks that tell it
_LEAST_PEAK = 0.1  # against the loudest of its hop
_STEPS = 100  # of a pitch's width: how finely tuning is told
_A0_HERTZ = 440.0 / 16.0


def hybrid(sound: Array, pitches: Pitches, hop: int) -> Array:
    """`(len(sound) // hop + 1, pitches.count)`, in the tuning of the sound itself."""
    tuned = replace(
        pitches,
        lowest_hertz=pitches.lowest_hertz
        * 2.0 ** (tuning(sound, pitches.rate_hz, pitches.per_octave) / pitches.per_octave),
    )
    is_short = 2.0 ** np.ceil(np.log2(tuned.lengths)) < 2 * hop
    long_count = int(np.count_nonzero(~is_short))
    low = magnitudes(sound, replace(tuned, count=long_count), hop)
    kernel = _kernel(tuned, long_count, 2 * hop)
    high = np.concatenate([part @ kernel for part in _spectra(sound, 2 * hop, hop)])
    return np.hstack([low, high])


def tuning(sound: Array, rate_hz: int, per_octave: int) -> float:
    """How far pitches lie over the nearest of A440's own, in [-0.5, 0.5) of their distance."""
    hertz, loud = _peaks(sound, rate_hz)
    if not len(hertz):
        return 0.0
    hertz = hertz[loud >= np.median(loud)]
    off = np.mod(per_octave * np.log2(hertz / _A0_HERTZ), 1.0)
    off[off >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, _STEPS + 1)
    counts, _ = np.histogram(off, edges)
    return float(edges[int(np.argmax(counts))])


def _peaks(sound: Array, rate_hz: int) -> tuple[Floats, Floats]:
    """Frequencies and magnitudes of the peaks of all hops, between bins by a parabola."""
    bins = np.arange(_WINDOW // 2 + 1) * rate_hz / _WINDOW
    inside = (bins >= _LOW_HERTZ) & (bins < _HIGH_HERTZ)
    inside[[0, -1]] = False
    hertz, loud = [np.zeros(0)], [np.zeros(0)]
    for spectra in _spectra(sound, _WINDOW, _WINDOW_HOP):
        rows = spectra.astype(np.float64)
        rows[rows <= _LEAST_PEAK * rows.max(axis=1, keepdims=True)] = 0.0
        is_peak = np.zeros(rows.shape, bool)
        is_peak[:, 1:-1] = (rows[:, 1:-1] > rows[:, :-2]) & (rows[:, 1:-1] >= rows[:, 2:])
        hop, place = np.nonzero(is_peak & inside)
        left, top, right = (spectra[hop, place + step].astype(float) for step in (-1, 0, 1))
        slope, bend = (right - left) / 2.0, left + right - 2.0 * top
        shift = np.where(np.abs(slope) < np.abs(bend), -slope / np.where(bend, bend, 1.0), 0.0)
        hertz.append((place + shift) * rate_hz / _WINDOW)
        loud.append(top + 0.5 * slope * shift)
    return np.concatenate(hertz), np.concatenate(loud)


def _spectra(sound: Array, window: int, hop: int) -> Iterator[Array]:
    """Magnitudes of Hann windows centred on every hop, some hops at a time."""
    count = len(sound) // hop + 1
    shape = np.hanning(window + 1)[:window].astype(np.float32)
    padded = np.concatenate(
        [np.zeros(window // 2, np.float32), sound, np.zeros(window, np.float32)]
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][:count]
    for first in range(0, count, _FRAMES_AT_ONCE):
        yield np.abs(fft.rfft(windows[first : first + _FRAMES_AT_ONCE] * shape))


def _kernel(pitches: Pitches, first: int, window: int) -> Array:
    """What each pitch from `first` on takes of every bin: `(bins, pitches)`."""
    angles = 2.0 * np.pi * np.arange(window // 2 + 1) / window
    rows = [
        np.abs(window_response(angles - 2.0 * np.pi * hertz / pitches.rate_hz, length)) * length
        for hertz, length in zip(pitches.hertz[first:], pitches.lengths[first:], strict=True)
    ]
    kernel: Array = (np.array(rows).reshape(-1, len(angles)).T / window**1.5).astype(np.float32)
    return kernel
