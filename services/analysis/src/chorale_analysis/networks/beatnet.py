"""BeatNet's network: a convolution over log-spectra and two recurrent layers.

Heydari, Cwitkowitz and Duan, ISMIR 2021; layout of `beatnet_model_*_weights.pt` (CC BY 4.0).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from chorale_analysis.spectra import Array

RATE_HZ, HOP, FRAME = 22050, 441, 1411
FRAMES_PER_SECOND = RATE_HZ / HOP
_BINS = FRAME // 2
_BANDS_PER_OCTAVE, _LOWEST_HERTZ, _HIGHEST_HERTZ, _REFERENCE_HERTZ = 24, 30.0, 17000.0, 440.0
_WIDE, _UNITS, _KERNEL = 272, 150, 10
_FRAMES_AT_ONCE = 4096


class BeatNet(nn.Module):
    """Log-spectra and their rise to odds of beat, downbeat and neither."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 2, _KERNEL)
        self.linear0 = nn.Linear(2 * ((_WIDE - _KERNEL + 1) // 2), _UNITS)
        self.lstm = nn.LSTM(_UNITS, _UNITS, num_layers=2, batch_first=True)
        self.linear = nn.Linear(_UNITS, 3)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """`(frames, 272)` to logits `(frames, 3)`."""
        heard = torch.relu(self.conv1(frames[:, None, :]))
        pooled = nn.functional.max_pool1d(heard, 2).flatten(1)
        states, _ = self.lstm(self.linear0(pooled)[None])
        logits: torch.Tensor = self.linear(states[0])
        return logits


def spectra(sound: Array) -> Array:
    """What the network hears: `(frames, 272)`, logarithmic bands and how much each rose."""
    filters = bands()
    count = -(-len(sound) // HOP)
    before = FRAME // 2
    padded = np.concatenate(
        [np.zeros(before, np.float32), sound, np.zeros(FRAME + HOP, np.float32)]
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:count]
    shape = np.hanning(FRAME).astype(np.float32)
    logs = np.zeros((count, filters.shape[1]), np.float32)
    for start in range(0, count, _FRAMES_AT_ONCE):
        part = windows[start : start + _FRAMES_AT_ONCE]
        magnitudes = np.abs(np.fft.rfft(part * shape, axis=1))[:, :_BINS].astype(np.float32)
        logs[start : start + len(part)] = np.log10(1.0 + magnitudes @ filters)
    rise = np.maximum(0.0, np.diff(logs, axis=0, prepend=logs[:1]))
    return np.hstack([logs, rise])


def bands() -> Array:
    """Triangles of weight 1 over bins, 24 in an octave: `(bins, 136)`."""
    hertz = np.arange(_BINS) * (RATE_HZ / 2) / _BINS  # as madmom counts bins, which made them
    left = np.floor(np.log2(_LOWEST_HERTZ / _REFERENCE_HERTZ) * _BANDS_PER_OCTAVE)
    right = np.ceil(np.log2(_HIGHEST_HERTZ / _REFERENCE_HERTZ) * _BANDS_PER_OCTAVE)
    centres = _REFERENCE_HERTZ * 2.0 ** (np.arange(left, right) / _BANDS_PER_OCTAVE)
    centres = centres[(centres >= _LOWEST_HERTZ) & (centres <= _HIGHEST_HERTZ)]
    above = np.clip(np.searchsorted(hertz, centres), 1, len(hertz) - 1)
    nearer_below = centres - hertz[above - 1] < hertz[above] - centres
    bins = np.unique(above - nearer_below)
    filters = np.zeros((_BINS, len(bins) - 2), np.float32)
    for band, start in enumerate(bins[:-2]):
        centre, stop = bins[band + 1 : band + 3]
        if stop - start < 2:
            centre, stop = start, start + 1
        filters[start:centre, band] = np.linspace(0.0, 1.0, centre - start, endpoint=False)
        filters[centre:stop, band] = np.linspace(1.0, 0.0, stop - centre, endpoint=False)
    weighted: Array = filters / filters.sum(axis=0)
    return weighted


def activations(network: BeatNet, sound: Array) -> npt.NDArray[np.float64]:
    """Chances of a beat that is none of the first, and of a first, at 50 frames a second."""
    with torch.inference_mode():
        chances = torch.softmax(network(torch.from_numpy(spectra(sound))), dim=1)
    return chances[:, :2].double().numpy()
