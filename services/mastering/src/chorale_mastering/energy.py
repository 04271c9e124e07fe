"""The energies of every 10 ms, K-weighted and plain, for as long as sound comes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering.weighting import Biquad

# Steps per second. 10 ms, not the 100 ms of the gating blocks: Tech 3341 case 13 moves a 400 ms
# tone by 20 ms at a time, and a meter that looks every 100 ms misses up to 0.3 LU of it.
STEPS_PER_SECOND = 100

# What one filter state may hold before it is as good as zero; smaller numbers would go denormal
# in the silence after a note, where they cost a hundred times more.
_NEGLIGIBLE = 1e-30


@dataclass(frozen=True)
class Steps:
    """Sums over successive 10 ms, one number a step."""

    weighted: npt.NDArray[np.float64]  # K-weighted squares of all channels, by channel weight
    power: npt.NDArray[np.float64]  # plain squares of all channels
    left: npt.NDArray[np.float64]  # plain squares of the first channel
    right: npt.NDArray[np.float64]  # of the second
    cross: npt.NDArray[np.float64]  # products of the two


class Energy:
    """Turns blocks of frames into the sums of successive steps.

    The steps do not depend on how the sound was cut into blocks: filter states, the sums of the
    unfinished step and the position are carried over, and every sum runs in the same order.
    """

    def __init__(
        self, sample_rate_hz: int, weights: tuple[float, ...], stages: tuple[Biquad, Biquad]
    ) -> None:
        self._rate_hz = sample_rate_hz
        self._weights = np.array(weights)
        self._coefficients = np.array([[s.b0, s.b1, s.b2, s.a1, s.a2] for s in stages])
        self._states = np.zeros((len(weights), 4))
        self._pending = np.zeros((-(-len(weights) // 2), 5))
        self._position = 0

    def push(self, block: npt.NDArray[np.float32]) -> Steps:
        """Returns the steps that this block completes."""
        end = self._position + len(block)
        first, last = (p * STEPS_PER_SECOND // self._rate_hz for p in (self._position, end))
        pairs = []
        for number, pending in enumerate(self._pending):
            pair = slice(2 * number, 2 * number + 2)
            steps = np.zeros((last - first, 4))
            kernel = _sum_two if len(self._weights[pair]) == 2 else _sum_one
            kernel(
                np.ascontiguousarray(block[:, pair]),  # no copy for stereo
                (self._position, self._rate_hz, first),
                self._coefficients,
                self._states[pair],
                pending,
                self._weights[pair],
                steps,
            )
            pairs.append(steps)
        self._position = end
        return Steps(
            weighted=sum((pair[:, 0] for pair in pairs[1:]), pairs[0][:, 0]),
            power=sum((pair[:, 1] + pair[:, 2] for pair in pairs), np.zeros(last - first)),
            left=pairs[0][:, 1],
            right=pairs[0][:, 2],
            cross=pairs[0][:, 3],
        )

    @property
    def is_finite(self) -> bool:
        """Whether no NaN or infinity came in: either would stay in the filters for ever."""
        return bool(np.isfinite(self._states).all() and np.isfinite(self._pending).all())


# In both kernels step k holds the frames n with n * 100 // rate == k; the loop index is unsigned
# because numba then leaves out the test for negative indices (15 % of the time).


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sum_two(block, geometry, coefficients, states, pending, weights, steps):  # type: ignore[no-untyped-def]
    """Two channels in one loop: each recurrence waits for itself, so two run for one's price."""
    position, rate, first = geometry
    b0, b1, b2, a1, a2 = coefficients[0]
    _, d1, d2, c1, c2 = coefficients[1]
    p0, p1, p2, p3 = states[0]
    q0, q1, q2, q3 = states[1]
    s, t, left, right, cross = pending
    frame, count, step = 0, block.shape[0], first
    while frame < count:
        boundary = -((-(step + 1) * rate) // STEPS_PER_SECOND) - position
        stop = min(boundary, count)
        for n in range(np.uintp(frame), np.uintp(stop)):
            x = np.float64(block[n, 0])
            y = b0 * x + p0
            p0 = (b1 * x + p1) - a1 * y
            p1 = b2 * x - a2 * y
            z = y + p2
            p2 = (d1 * y + p3) - c1 * z
            p3 = d2 * y - c2 * z
            s += z * z
            u = np.float64(block[n, 1])
            v = b0 * u + q0
            q0 = (b1 * u + q1) - a1 * v
            q1 = b2 * u - a2 * v
            w = v + q2
            q2 = (d1 * v + q3) - c1 * w
            q3 = d2 * v - c2 * w
            t += w * w
            left += x * x
            right += u * u
            cross += x * u
        frame = stop
        if stop == boundary:
            steps[step - first] = weights[0] * s + weights[1] * t, left, right, cross
            s = t = left = right = cross = 0.0
            step += 1
            p0, p1, p2, p3 = _settled(p0), _settled(p1), _settled(p2), _settled(p3)
            q0, q1, q2, q3 = _settled(q0), _settled(q1), _settled(q2), _settled(q3)
    states[0] = p0, p1, p2, p3
    states[1] = q0, q1, q2, q3
    pending[:] = s, t, left, right, cross


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sum_one(block, geometry, coefficients, states, pending, weights, steps):  # type: ignore[no-untyped-def]
    """The same for a channel without a partner."""
    position, rate, first = geometry
    b0, b1, b2, a1, a2 = coefficients[0]
    _, d1, d2, c1, c2 = coefficients[1]
    p0, p1, p2, p3 = states[0]
    s, _, left, _, _ = pending
    frame, count, step = 0, block.shape[0], first
    while frame < count:
        boundary = -((-(step + 1) * rate) // STEPS_PER_SECOND) - position
        stop = min(boundary, count)
        for n in range(np.uintp(frame), np.uintp(stop)):
            x = np.float64(block[n, 0])
            y = b0 * x + p0
            p0 = (b1 * x + p1) - a1 * y
            p1 = b2 * x - a2 * y
            z = y + p2
            p2 = (d1 * y + p3) - c1 * z
            p3 = d2 * y - c2 * z
            s += z * z
            left += x * x
        frame = stop
        if stop == boundary:
            steps[step - first] = weights[0] * s, left, 0.0, 0.0
            s = left = 0.0
            step += 1
            p0, p1, p2, p3 = _settled(p0), _settled(p1), _settled(p2), _settled(p3)
    states[0] = p0, p1, p2, p3
    pending[:] = s, 0.0, left, 0.0, 0.0


@njit(cache=True, inline="always")
def _settled(state):  # type: ignore[no-untyped-def]
    return 0.0 if abs(state) < _NEGLIGIBLE else state
