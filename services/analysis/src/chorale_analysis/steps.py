"""Means of a stream over successive steps of equal length."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Steps:
    """Gathers means, so many a second; steps differ by a frame where the rate cannot be divided."""

    def __init__(self, rate_hz: int, per_second: int) -> None:
        self._rate, self._per_second = rate_hz, per_second
        self._sum, self._frames = 0.0, 0  # of the step under way, and of all
        self.means: list[float] = []  # of whole steps

    def push(self, values: Floats) -> None:
        """Takes the next values, one for each frame."""
        first = 0
        while first < len(values):
            edge = self._edge(len(self.means) + 1)
            last = min(len(values), first + edge - self._frames)
            self._sum += float(values[first:last].sum())
            self._frames += last - first
            if self._frames == edge:
                self.means.append(self._sum / (edge - self._edge(len(self.means))))
                self._sum = 0.0
            first = last

    @property
    def all_means(self) -> list[float]:
        """Those of whole steps, and that of what came of the next."""
        left = self._frames - self._edge(len(self.means))
        return [*self.means, self._sum / left] if left else self.means

    @property
    def seconds(self) -> float:
        """How long the stream is so far."""
        return self._frames / self._rate

    def _edge(self, step: int) -> int:
        return step * self._rate // self._per_second
