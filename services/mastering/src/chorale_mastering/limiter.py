"""A look-ahead limiter that hears the peaks between the samples."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_mastering.block import Hopped, Samples
from chorale_mastering.limiter_kernel import (
    AHEAD_FRAMES,
    RUN_FRAMES,
    Memory,
    detector,
    limit,
)
from chorale_mastering.plan import LimiterMode
from chorale_mastering.reductions import Reductions


@dataclass(frozen=True)
class LimiterShape:
    """How one mode turns the times asked for into times in force.

    The gain first recovers at `release`; once it is above its own average of the last
    `average_ms`, it goes on `patience` times slower. Single peaks so are let go of quickly and
    dense music is not pumped.
    """

    lookahead_scale: float
    release_scale: float
    patience: float
    average_ms: float
    box_count: int  # 2: the gain bends smoothly; 1: it goes in straight lines
    level_attack_ms: float = 0.0  # of a slow stage before; 0: there is none
    level_release_ms: float = 0.0


SHAPES = {
    LimiterMode.TRANSPARENT: LimiterShape(1.0, 1.0, 4.0, 400.0, 2),
    LimiterMode.MODERN: LimiterShape(0.6, 0.5, 2.0, 200.0, 2, 60.0, 500.0),
    LimiterMode.AGGRESSIVE: LimiterShape(0.3, 0.25, 1.0, 100.0, 2),
    LimiterMode.CLASSIC: LimiterShape(1.0, 1.0, 8.0, 800.0, 1),
}


# Below this a gain bends faster than the interpolation can follow, and gaps would pass the ceiling.
_LEAST_WINDOW_FRAMES = 48


@dataclass(frozen=True)
class LimiterTimes:
    """The times of a limiter at one rate, in frames and per-frame coefficients."""

    window_frames: int  # the gain is ready so long before a peak
    boxes: tuple[int, int]
    release: float
    patient_release: float
    average: float
    level_attack: float
    level_release: float

    def array(self) -> npt.NDArray[np.float64]:
        """The coefficients as the kernel takes them."""
        return np.array(
            [
                self.release,
                self.patient_release,
                self.average,
                self.level_attack,
                self.level_release,
            ]
        )


def times(
    mode: LimiterMode, lookahead_ms: float, release_ms: float, sample_rate_hz: int
) -> LimiterTimes:
    """The times of this mode in force at this rate."""
    shape = SHAPES[mode]
    frames = lookahead_ms * shape.lookahead_scale * sample_rate_hz / 1000.0
    window = max(_LEAST_WINDOW_FRAMES, round(frames))
    # Two boxes spread over lags 0 to a + b - 2, which must not pass the window.
    boxes = (window // 2 + 1, window - window // 2 + 1) if shape.box_count == 2 else (window + 1, 1)

    def coefficient(milliseconds: float) -> float:
        if milliseconds <= 0.0:
            return 0.0
        return 1.0 - math.exp(-1000.0 / (milliseconds * sample_rate_hz))

    release = release_ms * shape.release_scale
    return LimiterTimes(
        window_frames=window,
        boxes=boxes,
        release=coefficient(release),
        patient_release=coefficient(release * shape.patience),
        average=coefficient(shape.average_ms),
        level_attack=coefficient(shape.level_attack_ms),
        level_release=coefficient(shape.level_release_ms),
    )


class Limiter(Hopped):
    """Multiplies by `gain`, then turns down what would pass the ceiling between the samples.

    For each frame the gain that keeps it and its gaps under the ceiling is known
    (`limiter_kernel`); the least of the next `window_frames` is held, let go of slowly and
    averaged over a window of the same length, so that the average is never above what any frame
    in it needs. All channels get the same gain. Where nothing comes near the ceiling the samples
    are those that came, times `gain`. Silence stays silence.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channel_count: int,
        ceiling: float,
        limiter_times: LimiterTimes,
        gain: float = 1.0,
    ) -> None:
        delay = limiter_times.window_frames + AHEAD_FRAMES
        super().__init__(channel_count, RUN_FRAMES, delay)
        self._ceiling, self._gain = np.float32(ceiling), np.float32(gain)
        self._times = limiter_times
        self._halves, self._reach = detector()
        self._history = np.zeros((channel_count, delay + AHEAD_FRAMES), np.float32)
        self._memory = Memory(limiter_times.window_frames, limiter_times.boxes)
        self.reductions = Reductions(sample_rate_hz, RUN_FRAMES, delay)

    def _advance(self, line: Samples) -> Samples:
        out = np.empty_like(line)
        gains = np.ones(len(line) // RUN_FRAMES, np.float32)
        lines = np.concatenate([self._history, line.T * self._gain], axis=1)
        limit(
            lines,
            out,
            (self._ceiling, self._reach),
            self._halves,
            self._times.array(),
            self._memory.arrays(),
            gains,
        )
        self._history = lines[:, len(line) :].copy()
        self.reductions.push(gains)
        return out
