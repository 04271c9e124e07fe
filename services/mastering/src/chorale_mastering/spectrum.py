"""The mean power spectrum of a programme, and what can be read from it."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chorale_mastering.block import Samples

Powers = npt.NDArray[np.float64]

_WINDOW_SECONDS = 0.186  # 8192 frames at 44.1 kHz: 5 Hz apart, fine enough for rumble
_PIECE_SECONDS = 15.0
_PIECES_MAX = 63  # odd: merged in pairs as soon as there is one more

_TAKEN_ONE_IN = 6  # windows of what comes: a mean needs no more

THIRD_OCTAVES_HZ = tuple(1000.0 * 10.0 ** (0.1 * k) for k in range(-17, 14))  # 20 Hz to 20 kHz

# A lossy codec leaves nothing above its low-pass: less than this under the octave below it.
_CLIFF_DB = 45.0
_CLIFF_FROM_HZ = 10000.0


@dataclass(frozen=True)
class MeanSpectrum:
    """Mean power at evenly spaced frequencies, over all channels, and of the side signal."""

    sample_rate_hz: int
    power: Powers = field(repr=False)
    loud_power: Powers = field(repr=False)  # of the pieces at least as loud as the mean

    @property
    def of_loud_pieces(self) -> "MeanSpectrum":
        """The spectrum of the loud pieces alone: refrains, not introductions."""
        return MeanSpectrum(self.sample_rate_hz, self.loud_power, self.loud_power)

    def smoothed_db(self, hertz: Powers, octaves: float) -> Powers:
        """Mean power per frequency around each of `hertz`, over so many octaves, in dB."""
        running = np.concatenate([[0.0], np.cumsum(self.power)])
        places = np.arange(len(running)) - 0.5
        spread = 2.0 ** (octaves / 2.0)
        # At least one line wide: below, a third octave is narrower than the spectrum can tell.
        low = np.minimum(hertz / spread, hertz - self._step_hz / 2.0) / self._step_hz
        high = np.maximum(hertz * spread, hertz + self._step_hz / 2.0) / self._step_hz
        power = np.interp(high, places, running) - np.interp(low, places, running)
        decibels: Powers = 10.0 * np.log10(np.maximum(power / (high - low), 1e-20))
        return decibels

    @staticmethod
    def gatherer(
        sample_rate_hz: int,
        channel_count: int,
        piece_seconds: float = _PIECE_SECONDS,
        epsilon: float = 0.0,
    ) -> "SpectrumGatherer":
        """Begins one; windows of less mean power than `epsilon` are left out."""
        return SpectrumGatherer(sample_rate_hz, channel_count, piece_seconds, epsilon)

    @property
    def hertz(self) -> Powers:
        """The frequencies of `power`."""
        return np.linspace(0.0, self.sample_rate_hz / 2.0, len(self.power))

    @property
    def is_silent(self) -> bool:
        """Whether there is no power."""
        return not bool(self.power.any())

    @property
    def centroid_hz(self) -> float:
        """Mean frequency by power; 0 in silence."""
        return 0.0 if self.is_silent else float(np.average(self.hertz, weights=self.power))

    @property
    def bandwidth_hz(self) -> float:
        """Spread around the centroid; 0 in silence."""
        if self.is_silent:
            return 0.0
        spread = np.average((self.hertz - self.centroid_hz) ** 2, weights=self.power)
        return math.sqrt(float(spread))

    def rolloff_hz(self, share: float = 0.85) -> float:
        """Frequency below which so much of the power lies; 0 in silence."""
        if self.is_silent:
            return 0.0
        total = np.cumsum(self.power)
        return float(self.hertz[int(np.searchsorted(total, share * total[-1]))])

    def below_db(self, hertz: float) -> float:
        """Power below a frequency, DC left out, relative to the whole; -inf for none."""
        inside = (self.hertz < hertz) & (np.arange(len(self.power)) > 1)
        share = float(self.power[inside].sum()) / max(float(self.power[2:].sum()), 1e-300)
        return 10.0 * math.log10(share) if share > 0.0 else -math.inf

    def third_octaves_db(self) -> tuple[float, ...]:
        """Power in each third octave (IEC 61260-1, base ten) relative to the whole."""
        total = max(float(self.power.sum()), 1e-300)
        edges = [f * 10.0**0.05 for f in THIRD_OCTAVES_HZ if f < self.sample_rate_hz / 2.0]
        running = np.concatenate([[0.0], np.cumsum(self.power)])
        spots = np.concatenate([[THIRD_OCTAVES_HZ[0] / 10.0**0.05], edges]) / self._step_hz + 0.5
        sums = np.diff(np.interp(spots, np.arange(len(running)), running))
        return tuple((10.0 * np.log10(np.maximum(sums / total, 1e-12))).tolist())

    def lowpass_hz(self) -> float:
        """Where a codec's low-pass cut everything off; 0 where nothing did."""
        if self.is_silent or self.sample_rate_hz < 4 * _CLIFF_FROM_HZ * 0.95:
            return 0.0
        width = max(1, round(200.0 / self._step_hz))
        count = len(self.power) // width
        bands = self.power[: count * width].reshape(count, width).mean(axis=1)
        heard = 10.0 * np.log10(np.maximum(bands, 1e-30))
        first = math.ceil(_CLIFF_FROM_HZ / (width * self._step_hz))
        for k in range(first, count - 3):
            if heard[k - 3 : k].mean() - heard[k + 1 :].max() > _CLIFF_DB:
                return float(k * width * self._step_hz)
        return 0.0

    @property
    def _step_hz(self) -> float:
        return self.sample_rate_hz / 2.0 / (len(self.power) - 1)


class SpectrumGatherer:
    """Takes a Hann window out of every six, counted from the start; memory does not grow."""

    def __init__(
        self, sample_rate_hz: int, channel_count: int, piece_seconds: float, epsilon: float
    ) -> None:
        self._rate_hz, self._epsilon = sample_rate_hz, epsilon
        self.window_frames = 1 << round(math.log2(_WINDOW_SECONDS * sample_rate_hz))
        self._window = np.hanning(self.window_frames + 1)[:-1].astype(np.float32)
        self._stride = _TAKEN_ONE_IN * self.window_frames
        self._line = np.zeros((0, channel_count), np.float32)
        self._pieces = [np.zeros(self.window_frames // 2 + 1)]
        self._counts = [0]
        self._windows_per_piece = max(1, round(piece_seconds * sample_rate_hz / self._stride))
        self._position = 0

    def push(self, block: Samples) -> None:
        """Takes the next frames; a window begins each stride."""
        line = np.concatenate([self._line, block])
        start = self._position  # of `line`, in the sound
        first = -(-start // self._stride) * self._stride
        while first + self.window_frames <= start + len(line):
            self._take(line[first - start : first - start + self.window_frames])
            first += self._stride
        kept = max(0, start + len(line) - first)
        self._line = line[len(line) - kept :].copy()
        self._position = start + len(line) - kept

    def read(self) -> MeanSpectrum:
        """The mean so far; sound shorter than one window is padded with silence."""
        if not self._counts[0] and len(self._line):
            room = self.window_frames - len(self._line)
            self._take(np.pad(self._line, ((0, room), (0, 0))))
        counts = np.maximum(np.array(self._counts), 1)[:, None]
        means = np.array(self._pieces) / counts
        whole = np.array(self._pieces).sum(axis=0) / max(1, sum(self._counts))
        levels = means.sum(axis=1)
        loud = means[levels >= levels.mean()].mean(axis=0)
        return MeanSpectrum(self._rate_hz, whole, loud)

    def _take(self, frames: Samples) -> None:
        if self._epsilon and float(np.mean(np.square(frames, dtype=np.float64))) < self._epsilon:
            return
        if self._counts[-1] >= self._windows_per_piece:
            self._pieces.append(np.zeros_like(self._pieces[0]))
            self._counts.append(0)
            if len(self._counts) > _PIECES_MAX:
                self._merge()
        spectrum = np.fft.rfft(np.ascontiguousarray(frames.T) * self._window, axis=1)
        self._pieces[-1] += (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
        self._counts[-1] += 1

    def _merge(self) -> None:
        """Makes two pieces one, so that memory does not grow with the sound."""
        self._pieces = [a + b for a, b in zip(self._pieces[::2], self._pieces[1::2], strict=True)]
        self._counts = [a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)]
        self._windows_per_piece *= 2
