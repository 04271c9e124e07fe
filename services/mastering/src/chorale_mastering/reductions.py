"""How much a stage took, over time: for reports and pictures."""

import math

import numpy as np
import numpy.typing as npt


class Reductions:
    """Gathers gains into the least gain of every 100 ms, whatever pace they come at."""

    def __init__(self, sample_rate_hz: int, frames_per_gain: int, delay_frames: int = 0) -> None:
        self._rate_hz, self._step_frames = sample_rate_hz, frames_per_gain
        self._position = -delay_frames
        self._least = np.ones(64, np.float32)
        self._sum_db, self._count = 0.0, 0
        self.least_gain = 1.0

    def push(self, gains: npt.NDArray[np.float32]) -> None:
        """Takes the next gains, one every `frames_per_gain`."""
        if not len(gains):
            return
        starts = self._position + self._step_frames * np.arange(len(gains))
        tenths = np.maximum(starts, 0) * 10 // self._rate_hz
        self._position += self._step_frames * len(gains)
        while tenths[-1] >= len(self._least):
            self._least = np.concatenate([self._least, np.ones_like(self._least)])
        least = float(gains.min())
        if least < 1.0:
            np.minimum.at(self._least, tenths, gains)
            self._sum_db -= 20.0 * float(np.log10(gains).sum())
            self.least_gain = min(self.least_gain, least)
        self._count += len(gains)

    def by_tenth(self, count: int) -> npt.NDArray[np.float32]:
        """The greatest reduction of each of the first 100 ms, in dB, at most 0."""
        least = np.ones(count, np.float32)
        known = min(count, len(self._least))
        least[:known] = self._least[:known]
        reduction: npt.NDArray[np.float32] = (20.0 * np.log10(least)).astype(np.float32)
        return reduction

    @property
    def greatest_db(self) -> float:
        """The most that was ever taken, at least 0."""
        return -20.0 * math.log10(self.least_gain) + 0.0

    @property
    def mean_db(self) -> float:
        """What was taken on average over all the time, at least 0."""
        return self._sum_db / self._count if self._count else 0.0
