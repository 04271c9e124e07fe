"""Second-order filters: bells, shelves and passes, and running sound through them."""

import cmath
import math

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering.block import Samples
from chorale_mastering.weighting import Biquad

# The least normal state; smaller ones would go denormal in the silence after a note, where they
# cost a hundred times more. Looked at every 512 frames of the sound, however it is cut.
_NEGLIGIBLE = 1e-30
_SETTLE_FRAMES = 512

# No corner above this share of the rate: the bilinear transform has no room there.
HIGHEST_CORNER = 0.49

BUTTERWORTH_Q = math.sqrt(0.5)


def peak(hertz: float, gain_db: float, q: float, sample_rate_hz: int) -> Biquad:
    """A bell (Bristow-Johnson, Audio EQ Cookbook, peakingEQ)."""
    cosine, alpha = _corner(hertz, q, sample_rate_hz)
    a = 10.0 ** (gain_db / 40.0)
    return _normalised(
        (1.0 + alpha * a, -2.0 * cosine, 1.0 - alpha * a),
        (1.0 + alpha / a, -2.0 * cosine, 1.0 - alpha / a),
    )


def low_shelf(hertz: float, gain_db: float, q: float, sample_rate_hz: int) -> Biquad:
    """Lifts or lowers all below the corner (Audio EQ Cookbook, lowShelf)."""
    cosine, alpha = _corner(hertz, q, sample_rate_hz)
    return _shelf(cosine, alpha, 10.0 ** (gain_db / 40.0), -1.0)


def high_shelf(hertz: float, gain_db: float, q: float, sample_rate_hz: int) -> Biquad:
    """Lifts or lowers all above the corner (Audio EQ Cookbook, highShelf)."""
    cosine, alpha = _corner(hertz, q, sample_rate_hz)
    return _shelf(cosine, alpha, 10.0 ** (gain_db / 40.0), 1.0)


def high_pass(hertz: float, q: float, sample_rate_hz: int) -> Biquad:
    """Removes what lies below the corner, 12 dB per octave (Audio EQ Cookbook, HPF)."""
    cosine, alpha = _corner(hertz, q, sample_rate_hz)
    half = (1.0 + cosine) / 2.0
    return _normalised((half, -2.0 * half, half), (1.0 + alpha, -2.0 * cosine, 1.0 - alpha))


def low_pass(hertz: float, q: float, sample_rate_hz: int) -> Biquad:
    """Removes what lies above the corner, 12 dB per octave (Audio EQ Cookbook, LPF)."""
    cosine, alpha = _corner(hertz, q, sample_rate_hz)
    half = (1.0 - cosine) / 2.0
    return _normalised((half, 2.0 * half, half), (1.0 + alpha, -2.0 * cosine, 1.0 - alpha))


def all_pass(hertz: float, q: float, sample_rate_hz: int) -> Biquad:
    """Turns phase and keeps magnitude (Audio EQ Cookbook, APF)."""
    cosine, alpha = _corner(hertz, q, sample_rate_hz)
    return _normalised(
        (1.0 - alpha, -2.0 * cosine, 1.0 + alpha), (1.0 + alpha, -2.0 * cosine, 1.0 - alpha)
    )


def response_db(stages: tuple[Biquad, ...], hertz: float, sample_rate_hz: int) -> float:
    """The gain of a cascade at one frequency."""
    z = cmath.exp(-2j * math.pi * hertz / sample_rate_hz)
    total = 1.0
    for s in stages:
        total *= abs((s.b0 + s.b1 * z + s.b2 * z * z) / (1.0 + s.a1 * z + s.a2 * z * z))
    return 20.0 * math.log10(max(total, 1e-10))


class Cascade:
    """A processor that runs every channel through filters, one after the other; no latency."""

    def __init__(self, stages: tuple[Biquad, ...], channel_count: int) -> None:
        self._coefficients = coefficients(stages)
        self._states = np.zeros((len(stages), channel_count, 2))
        self._position = 0
        self._channel_count = channel_count

    @property
    def latency_frames(self) -> int:
        """None."""
        return 0

    def process(self, block: Samples) -> Samples:
        """Filters the next frames."""
        out = np.array(block, np.float32, order="C")
        filter_in_place(out, self._coefficients, self._states, self._position)
        self._position += len(block)
        return out

    def flush(self) -> Samples:
        """Nothing is held back."""
        return np.zeros((0, self._channel_count), np.float32)


def coefficients(stages: tuple[Biquad, ...]) -> npt.NDArray[np.float64]:
    """Filters as kernels take them: a row of b0, b1, b2, a1, a2 each."""
    return np.array([[s.b0, s.b1, s.b2, s.a1, s.a2] for s in stages]).reshape(-1, 5)


@njit(cache=True, nogil=True, fastmath={"contract"})
def filter_in_place(block, coefficients, states, position):  # type: ignore[no-untyped-def]
    """Runs `(frames, channels)` through all stages; states are `(stages, channels, 2)`.

    Transposed direct form II in double precision; two channels share a loop, because each
    recurrence waits for itself.
    """
    count, channel_count = block.shape
    for stage in range(coefficients.shape[0]):
        start = 0
        while start < count:
            stop = min(count, start + _SETTLE_FRAMES - (position + start) % _SETTLE_FRAMES)
            channel = 0
            while channel + 1 < channel_count:
                _two(block, start, stop, channel, coefficients[stage], states[stage])
                channel += 2
            if channel < channel_count:
                _one(block, start, stop, channel, coefficients[stage], states[stage])
            start = stop
            if (position + stop) % _SETTLE_FRAMES == 0:
                for k in range(channel_count):
                    for order in range(2):
                        if abs(states[stage, k, order]) < _NEGLIGIBLE:
                            states[stage, k, order] = 0.0


@njit(cache=True, nogil=True, fastmath={"contract"})
def _two(block, start, stop, channel, row, states):  # type: ignore[no-untyped-def]
    b0, b1, b2, a1, a2 = row
    p, q = states[channel]
    r, s = states[channel + 1]
    left, right = np.uintp(channel), np.uintp(channel + 1)
    for n in range(np.uintp(start), np.uintp(stop)):
        x, u = np.float64(block[n, left]), np.float64(block[n, right])
        y, v = b0 * x + p, b0 * u + r
        p, r = (b1 * x + q) - a1 * y, (b1 * u + s) - a1 * v
        q, s = b2 * x - a2 * y, b2 * u - a2 * v
        block[n, left], block[n, right] = np.float32(y), np.float32(v)
    states[channel, 0], states[channel, 1] = p, q
    states[channel + 1, 0], states[channel + 1, 1] = r, s


@njit(cache=True, nogil=True, fastmath={"contract"})
def _one(block, start, stop, channel, row, states):  # type: ignore[no-untyped-def]
    b0, b1, b2, a1, a2 = row
    p, q = states[channel]
    only = np.uintp(channel)
    for n in range(np.uintp(start), np.uintp(stop)):
        x = np.float64(block[n, only])
        y = b0 * x + p
        p = (b1 * x + q) - a1 * y
        q = b2 * x - a2 * y
        block[n, only] = np.float32(y)
    states[channel, 0], states[channel, 1] = p, q


def _corner(hertz: float, q: float, sample_rate_hz: int) -> tuple[float, float]:
    omega = 2.0 * math.pi * min(hertz / sample_rate_hz, HIGHEST_CORNER)
    return math.cos(omega), math.sin(omega) / (2.0 * q)


def _shelf(cosine: float, alpha: float, a: float, side: float) -> Biquad:
    """Both shelves of the cookbook: `side` is -1 for the low and 1 for the high one."""
    plus, minus, root = a + 1.0, a - 1.0, 2.0 * math.sqrt(a) * alpha
    return _normalised(
        (
            a * (plus + side * minus * cosine + root),
            -2.0 * side * a * (minus + side * plus * cosine),
            a * (plus + side * minus * cosine - root),
        ),
        (
            plus - side * minus * cosine + root,
            2.0 * side * (minus - side * plus * cosine),
            plus - side * minus * cosine - root,
        ),
    )


def _normalised(b: tuple[float, float, float], a: tuple[float, float, float]) -> Biquad:
    return Biquad(b[0] / a[0], b[1] / a[0], b[2] / a[0], a[1] / a[0], a[2] / a[0])
