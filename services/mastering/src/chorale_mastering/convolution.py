"""Linear-phase filters: long symmetric impulse responses, applied by FFT."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chorale_mastering.block import Hopped, Samples

Gains = npt.NDArray[np.float64]


def linear_phase(gain: Callable[[Gains], Gains], tap_count: int, sample_rate_hz: int) -> Samples:
    """The symmetric impulse response, of odd length, of a gain given over frequency in Hz.

    Sampled four times as densely as its length asks for and windowed (Hann), so that what the
    window smears is narrower than what the curve says.
    """
    size = 1 << (4 * tap_count).bit_length()
    magnitude = gain(np.fft.rfftfreq(size, 1.0 / sample_rate_hz).astype(np.float64))
    response = np.roll(np.fft.irfft(magnitude, size), tap_count // 2)[:tap_count]
    window = np.hanning(tap_count + 2)[1:-1]
    taps: Samples = (response * window).astype(np.float32)
    return taps


class Convolution(Hopped):
    """A processor that convolves every channel with a symmetric response of odd length.

    Overlap-save: hops of fixed length meet FFTs of fixed length. The delay is half the response.
    """

    def __init__(self, taps: Samples, channel_count: int) -> None:
        # Hops as long as the response: near the least arithmetic per frame, and memory stays small.
        hop = 1 << (len(taps) - 1).bit_length()
        super().__init__(channel_count, hop, len(taps) // 2)
        self._size = 2 * hop
        self._spectrum = np.fft.rfft(taps, self._size).astype(np.complex64)[:, None]
        self._history = np.zeros((hop, channel_count), np.float32)

    def _advance(self, line: Samples) -> Samples:
        hop, out = self._hop_frames, np.empty_like(line)
        for start in range(0, len(line), hop):
            fresh = line[start : start + hop]
            whole = np.concatenate([self._history, fresh]).T
            spectrum = np.fft.rfft(whole, axis=1) * self._spectrum[:, 0]
            out[start : start + hop] = np.fft.irfft(spectrum, self._size, axis=1)[:, hop:].T
            self._history = fresh.copy()
        return out
