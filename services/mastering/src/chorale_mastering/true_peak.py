"""True peak: the greatest value between the samples, where a converter will find it."""

import numpy as np
import numpy.typing as npt
from numba import njit

# BS.1770-5, Annex 2 asks for at least 4 x oversampling at 48 kHz with 12 taps a phase. Twice the
# taps keep the passband flat to 0.92 of the Nyquist frequency, which noisy cymbals need.
OVERSAMPLING = 4
TAP_COUNT = 24
_KAISER_BETA = 5.0

# Outputs are computed 64 at a time, at multiples of 64 frames from the start of the sound: the
# same arithmetic in the same lanes however the sound was cut, so the same bits.
_RUN = 64
_HISTORY = TAP_COUNT - 1
_HALF = TAP_COUNT // 2

Samples = npt.NDArray[np.float32]


def interpolator() -> Samples:
    """The filters that give the value 1/4, 2/4 and 3/4 of a frame after the middle sample.

    A Kaiser-windowed sinc, each phase normalised to pass DC unchanged; phase 0 would be the
    sample itself.
    """
    phases = np.arange(1, OVERSAMPLING)[:, None] / OVERSAMPLING
    distance = np.arange(TAP_COUNT)[None, :] - (_HALF - 1) - phases  # (3, 24)
    shape = np.sqrt(np.maximum(0.0, 1.0 - (distance / _HALF) ** 2))
    taps = np.sinc(distance) * np.i0(_KAISER_BETA * shape)
    filters: Samples = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters


class TruePeak:
    """Follows the greatest sample and the greatest interpolated value of every channel.

    Exact over any chunking. Most of the interpolation is skipped, and none of its result: where
    the neighbourhood of a run times the filter's greatest gain stays under the peak found so far,
    no value in that run can be the peak.

    With `tenths` the peaks of every 100 ms are found too, which leaves less to skip.
    """

    def __init__(self, sample_rate_hz: int, channel_count: int, tenths: bool = False) -> None:
        taps = interpolator()
        # Phase 3 is phase 1 mirrored and phase 2 its own mirror image, so sums and differences of
        # mirrored samples serve all three at half the multiplications.
        even, odd = (taps[0] + taps[2]) / 2, (taps[0] - taps[2]) / 2
        self._halves = np.stack([even[:_HALF], odd[:_HALF], taps[1][:_HALF]])
        self._greatest_gain = np.float32(np.abs(taps).sum(axis=1).max() * (1.0 + 1e-5))
        self._tenths = tenths
        self._rate_hz = sample_rate_hz
        self._carried = [np.zeros(_HISTORY, np.float32) for _ in range(channel_count)]
        self._run_count = 0
        self.sample_peaks = np.zeros(channel_count, np.float32)
        self.true_peaks = np.zeros(channel_count, np.float32)
        # Of every 100 ms, over all channels. Grown by doubling.
        self._sample_peaks_by_tenth = np.zeros(64, np.float32)
        self._true_peaks_by_tenth = np.zeros(64, np.float32)

    def push(self, block: Samples) -> None:
        """Follows the peaks through one block of frames, shaped `(frames, channels)`."""
        run_count = (len(self._carried[0]) + len(block) - _HISTORY) // _RUN
        self._reserve(self._tenth(self._run_count + run_count) + 1)
        for channel, carried in enumerate(self._carried):
            line = np.concatenate([carried, block[:, channel]])
            self.sample_peaks[channel], self.true_peaks[channel] = _follow(
                line,
                (run_count, self._run_count, self._rate_hz, self._tenths),
                self._halves,
                self._greatest_gain,
                (self.sample_peaks[channel], self.true_peaks[channel]),
                (self._sample_peaks_by_tenth, self._true_peaks_by_tenth),
            )
            self._carried[channel] = line[run_count * _RUN :]
        self._run_count += run_count

    def finish(self) -> None:
        """Lets the last frames ring out: the peak may lie just after the end."""
        self.push(np.zeros((_RUN + TAP_COUNT, len(self._carried)), np.float32))

    def sample_peaks_by_tenth(self, count: int) -> Samples:
        """The greatest sample of each of the first 100 ms, exact to one run of 64 frames."""
        self._reserve(count)
        return self._sample_peaks_by_tenth[:count]

    def true_peaks_by_tenth(self, count: int) -> Samples:
        """The true peak of each of the first 100 ms; needs `tenths`."""
        self._reserve(count)
        return self._true_peaks_by_tenth[:count]

    def _tenth(self, run: int) -> int:
        return run * _RUN * 10 // self._rate_hz

    def _reserve(self, count: int) -> None:
        while count > len(self._sample_peaks_by_tenth):
            spare = np.zeros_like(self._sample_peaks_by_tenth)
            self._sample_peaks_by_tenth = np.concatenate([self._sample_peaks_by_tenth, spare])
            self._true_peaks_by_tenth = np.concatenate([self._true_peaks_by_tenth, spare])


@njit(cache=True, nogil=True)
def _follow(line, geometry, halves, greatest_gain, peaks, peaks_by_tenth):  # type: ignore[no-untyped-def]
    """Returns the new peaks, given a line that begins with the frames already seen."""
    run_count, run_first, rate, by_tenth = geometry
    sample_peak, true_peak = peaks
    sample_tenths, true_tenths = peaks_by_tenth
    reaches = np.empty(run_count, np.float32)  # the greatest sample a run's filters can reach
    loudest = 0
    for run in range(run_count):
        reaches[run] = _greatest(line[run * _RUN : (run + 1) * _RUN + _HISTORY])
        tenth = (run_first + run) * _RUN * 10 // rate
        sample_tenths[tenth] = max(sample_tenths[tenth], reaches[run])
        if reaches[run] > sample_peak:
            sample_peak, loudest = reaches[run], run
    true_peak = max(true_peak, sample_peak)
    if run_count and not by_tenth:
        # The loudest run goes first: the peak it leaves lets most others be skipped.
        true_peak = max(true_peak, _interpolated(line[loudest * _RUN :], halves))
    for run in range(run_count):
        tenth = (run_first + run) * _RUN * 10 // rate
        known = max(true_tenths[tenth], sample_tenths[tenth]) if by_tenth else true_peak
        if reaches[run] * greatest_gain > known:
            peak = _interpolated(line[run * _RUN :], halves)
            true_peak = max(true_peak, peak)
            true_tenths[tenth] = max(true_tenths[tenth], sample_tenths[tenth], peak)
    return sample_peak, true_peak


@njit(cache=True, nogil=True, fastmath=True)
def _greatest(samples):  # type: ignore[no-untyped-def]
    peak = np.float32(0.0)
    for n in range(samples.shape[0]):
        peak = max(peak, abs(samples[n]))
    return peak


@njit(cache=True, nogil=True, fastmath=True)
def _interpolated(samples, halves):  # type: ignore[no-untyped-def]
    """Returns the greatest of the 3 x 64 values between the samples of one run."""
    peak = np.float32(0.0)
    for n in range(_RUN):
        even = odd = middle = np.float32(0.0)
        for k in range(_HALF):
            near, far = samples[n + k], samples[n + _HISTORY - k]
            even += halves[0, k] * (near + far)
            odd += halves[1, k] * (near - far)
            middle += halves[2, k] * (near + far)
        # Phases 1 and 3 are even + odd and even - odd; the greater magnitude is the sum of both.
        peak = max(peak, abs(middle), abs(even) + abs(odd))
    return peak
