"""Momentary and short-term loudness: 400 ms and 3 s windows that slide by 10 ms."""

import numpy as np

from chorale_mastering.energy import STEPS_PER_SECOND
from chorale_mastering.gating import Energies

_TENTH = STEPS_PER_SECOND // 10  # steps in 100 ms
_SECOND = STEPS_PER_SECOND
MOMENTARY_STEPS = 4 * _TENTH
SHORT_TERM_STEPS = 3 * _SECOND


class Windows:
    """Slides both windows over the K-weighted sums of successive 10 ms steps.

    The greatest are sought at every step; one window in ten, as BS.1770 spaces them, is kept for
    the gates. Windows that would begin before the sound do not exist.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._momentary_frames = sample_rate_hz * MOMENTARY_STEPS / STEPS_PER_SECOND
        self._short_term_frames = sample_rate_hz * SHORT_TERM_STEPS / STEPS_PER_SECOND
        self._carried = np.zeros(0)
        self._step_count = 0
        self._momentary: list[Energies] = [np.zeros(0)]
        self._short_term: list[Energies] = [np.zeros(0)]
        self.momentary_max = self.short_term_max = 0.0  # mean squares, like all that follow
        self.momentary_now = self.short_term_now = 0.0

    def push(self, steps: Energies) -> None:
        """Slides over the next steps."""
        line = np.concatenate([self._carried, steps])
        # Sums of sums, each in a fixed order: the same bits however the steps came.
        tenths = _sum_of(line, 10, 1)
        momentary = _sum_of(tenths, 4, _TENTH) / self._momentary_frames
        short_term = _sum_of(_sum_of(tenths, 10, _TENTH), 3, _SECOND) / self._short_term_frames
        self._step_count += len(steps)
        momentary, short_term = momentary[-len(steps) :], short_term[-len(steps) :]
        if len(steps) and len(momentary):
            self.momentary_max = max(self.momentary_max, float(momentary.max()))
            self.momentary_now = float(momentary[-1])
            self._momentary.append(self._spaced(momentary))
        if len(steps) and len(short_term):
            self.short_term_max = max(self.short_term_max, float(short_term.max()))
            self.short_term_now = float(short_term[-1])
            self._short_term.append(self._spaced(short_term))
        self._carried = line[-(SHORT_TERM_STEPS - 1) :]

    def momentary(self) -> Energies:
        """Mean squares of the 400 ms windows that end at 400, 500, 600, ... ms."""
        self._momentary = [np.concatenate(self._momentary)]
        return self._momentary[0]

    def short_term(self) -> Energies:
        """Mean squares of the 3 s windows that end at 3.0, 3.1, 3.2, ... s."""
        self._short_term = [np.concatenate(self._short_term)]
        return self._short_term[0]

    def _spaced(self, windows: Energies) -> Energies:
        """Those of the windows, the last of which ends now, that end at a multiple of 100 ms."""
        first_end = self._step_count - len(windows) + 1
        return windows[-first_end % _TENTH :: _TENTH].copy()


def _sum_of(line: Energies, count: int, stride: int) -> Energies:
    """Sums of `count` numbers, `stride` apart, from every position that has them all."""
    length = len(line) - (count - 1) * stride
    if length <= 0:
        return np.zeros(0)
    total = line[:length].copy()
    for k in range(1, count):
        total += line[k * stride : k * stride + length]
    return total
