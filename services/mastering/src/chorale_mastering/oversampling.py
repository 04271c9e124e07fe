"""Four times the rate and back: so that bending a waveform does not fold what it adds."""

import numpy as np
from numba import njit

from chorale_mastering.block import Hopped, Samples

FACTOR = 4
_TAPS_PER_PHASE = 24
_KAISER_BETA = 8.0
_RUN_FRAMES = 64
# Both filters delay by half their length; together a whole number of frames.
_TAPS = FACTOR * _TAPS_PER_PHASE + 1
DELAY_FRAMES = _TAPS_PER_PHASE


def _lowpass() -> Samples:
    """A Kaiser-windowed sinc at 4 times the rate, symmetric, passing up to 0.9 of Nyquist."""
    middle = _TAPS // 2
    place = np.arange(_TAPS) - middle
    taps = np.sinc(place / FACTOR) * np.kaiser(_TAPS, _KAISER_BETA)
    response: Samples = (taps / taps.sum()).astype(np.float32)
    return response


class Bent(Hopped):
    """A processor that bends every sample by a curve, at four times the rate.

    The curve is `knee(limit)`: straight up to `start`, then an arc of tanh that never passes
    `limit`; `bias` makes it uneven, which adds even harmonics. Only the difference that bending
    makes goes through the filters, so what is not bent is not touched at all.
    """

    def __init__(self, channel_count: int, start: float, limit: float, bias: float = 0.0) -> None:
        super().__init__(channel_count, _RUN_FRAMES, DELAY_FRAMES)
        self._curve = np.array([start, limit, bias], np.float32)
        taps = _lowpass()
        # Interpolating phases: phase p of the upsampler, taps newest first.
        padded = np.zeros((_TAPS_PER_PHASE + 1) * FACTOR, np.float32)
        padded[:_TAPS] = taps * FACTOR
        self._up = np.ascontiguousarray(padded.reshape(-1, FACTOR).T)
        self._down = taps
        self._history = np.zeros((_TAPS_PER_PHASE + 1, channel_count), np.float32)
        self._bent = np.zeros((channel_count, _TAPS - 1), np.float32)

    def _advance(self, line: Samples) -> Samples:
        whole = np.concatenate([self._history, line])
        out = np.empty_like(line)
        for channel in range(line.shape[1]):
            column = np.ascontiguousarray(whole[:, channel])
            result = np.empty(len(line), np.float32)
            _bend(column, self._up, self._down, self._curve, self._bent[channel], result)
            out[:, channel] = result
        self._history = whole[len(line) :].copy()
        return out


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _bend(line, up, down, curve, memory, out):  # type: ignore[no-untyped-def]
    """Upsamples, takes what the curve changes, brings that back down and adds it."""
    start, limit, bias = curve
    history = line.shape[0] - out.shape[0]
    taps = up.shape[1]
    size = memory.shape[0]
    fine = np.empty(size + FACTOR * _RUN_FRAMES, np.float32)
    for first in range(0, out.shape[0], _RUN_FRAMES):
        fine[:size] = memory
        changed = False
        for n in range(_RUN_FRAMES):
            newest = history + first + n
            for phase in range(FACTOR):
                value = np.float32(0.0)
                for k in range(taps):
                    value += up[phase, k] * line[newest - k]
                change = _curved(value, start, limit, bias) - value
                changed |= change != 0.0
                fine[size + FACTOR * n + phase] = change
        memory[:] = fine[fine.shape[0] - size :]
        for k in range(size):
            changed |= fine[k] != 0.0
        for n in range(_RUN_FRAMES):
            total = np.float32(0.0)
            if changed:
                for k in range(down.shape[0]):
                    total += down[k] * fine[size + FACTOR * n - k]
            out[first + n] = line[first + n + 1] + total


@njit(cache=True, nogil=True)
def _curved(value, start, limit, bias):  # type: ignore[no-untyped-def]
    """Straight up to `start`, then towards `limit` as tanh does; slope is 1 at the join."""
    shifted = value + bias
    size = abs(shifted)
    if size <= start:
        return value
    room = limit - start
    size = start + room * np.tanh((size - start) / room)
    return (size if shifted >= 0.0 else -size) - bias
