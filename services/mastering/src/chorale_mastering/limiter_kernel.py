"""The arithmetic of the limiter, frame by frame."""

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering.true_peak import TAP_COUNT, interpolator

RUN_FRAMES = 64
AHEAD_FRAMES = TAP_COUNT // 2  # what the interpolation between two frames needs after the first
_HALF = TAP_COUNT // 2

# A gain this close to 1 (-120 dB) is 1: releases end, and untouched sound stays untouched.
_UNITY = 1.0 - 1e-6
_LEVEL_UNITY = 1.0 - 1e-5
_AVERAGE_UNITY = 1.0 - 1e-4  # it only steers the pace of releases

# Places in the state.
_HELD, _AVERAGE, _LEVEL, _SUM_A, _SUM_B, _CALM, _CLOCK, _HEAD, _TAIL, _LAST = range(10)
STATE_COUNT = 10


def detector() -> tuple[npt.NDArray[np.float32], np.float32]:
    """The meter's own interpolator by its symmetry, and the most it can amplify."""
    taps = interpolator()
    even, odd = (taps[0] + taps[2]) / 2, (taps[0] - taps[2]) / 2
    halves = np.stack([even[:_HALF], odd[:_HALF], taps[1][:_HALF]])
    return halves, np.float32(np.abs(taps).sum(axis=1).max() * (1.0 + 1e-5))


@njit(cache=True, nogil=True)
def unity(state, rings, sizes):  # type: ignore[no-untyped-def]
    """Puts the state to where nothing is limited and nothing was for long."""
    state[:] = 0.0
    state[_HELD] = state[_AVERAGE] = state[_LEVEL] = state[_LAST] = 1.0
    state[_SUM_A], state[_SUM_B] = sizes[1], sizes[2]
    state[_CALM] = 1e18
    rings[:] = 1.0


@njit(cache=True, nogil=True)
def limit(lines, out, levels, halves, times, sizes, memory, gains):  # type: ignore[no-untyped-def]
    """Limits whole runs; `lines` is `(channels, delay + AHEAD + frames)`, history first.

    Output frame i is `lines[:, i + AHEAD]`. The peaks that newly come are those of the frames
    `window` later, whose gaps end before the end of the line.
    """
    ceiling, reach = levels
    state, rings, places = memory
    window = sizes[0]
    channel_count = lines.shape[0]
    needs = np.empty(RUN_FRAMES, np.float64)
    peaks = np.empty(RUN_FRAMES, np.float32)
    # How long all must have been calm for the state to be that of `unity`.
    settled = 2 * window + 4
    for run in range(out.shape[0] // RUN_FRAMES):
        first = run * RUN_FRAMES
        fresh = first + window + AHEAD_FRAMES  # place in `lines` of the first new peak
        peaks[:] = 0.0
        for channel in range(channel_count):
            line = lines[channel, fresh - _HALF + 1 : fresh + RUN_FRAMES + _HALF]
            if _greatest(line) * reach > ceiling:
                _gaps(line, halves, peaks)
        calm = True
        for n in range(RUN_FRAMES):
            calm &= peaks[n] <= ceiling
        if calm and state[_CALM] >= settled:
            for channel in range(channel_count):
                for n in range(first, first + RUN_FRAMES):
                    out[n, channel] = lines[channel, n + AHEAD_FRAMES]
            continue
        if state[_CALM] >= settled:
            unity(state, rings, sizes)
            state[_CALM] = 0.0
        for n in range(RUN_FRAMES):
            needs[n] = np.float64(ceiling) / max(peaks[n], ceiling)
        _follow(needs, times, sizes, state, rings, places)
        least = 1.0
        for n in range(RUN_FRAMES):
            least = min(least, needs[n])
        gains[run] = least
        for channel in range(channel_count):
            for n in range(RUN_FRAMES):
                value = lines[channel, first + n + AHEAD_FRAMES]
                out[first + n, channel] = value * np.float32(needs[n])


@njit(cache=True, nogil=True)
def _follow(needs, times, sizes, state, rings, places):  # type: ignore[no-untyped-def]
    """Turns the gains that frames need into the gain they get, `window` frames later, in place."""
    release, patient, average_by, level_attack, level_release = times
    window, box_a, box_b = sizes
    held, average, level = state[_HELD], state[_AVERAGE], state[_LEVEL]
    sum_a, sum_b, calm = state[_SUM_A], state[_SUM_B], state[_CALM]
    clock, head, tail = np.int64(state[_CLOCK]), np.int64(state[_HEAD]), np.int64(state[_TAIL])
    last = state[_LAST]
    line, ring_a, ring_b, levels = rings
    mask = places.shape[0] - 1  # sizes of rings are powers of 2
    for n in range(needs.shape[0]):
        need = needs[n]
        if level_attack > 0.0:
            level += (level_attack * (need - level)) if need < level else level_release * (1 - level)
            if level > _LEVEL_UNITY:
                level = 1.0
            need = min(1.0, need / level)
        # A gap belongs to the frames on both its sides.
        both, last = min(need, last), need
        # The least of the last window + 1 needs: a queue of candidates that only rises.
        line[clock & mask] = both
        while tail > head and line[places[(tail - 1) & mask] & mask] >= both:
            tail -= 1
        places[tail & mask] = clock
        tail += 1
        if places[head & mask] < clock - window:
            head += 1
        least = line[places[head & mask] & mask]
        average += average_by * (least - average)
        if average > _AVERAGE_UNITY:
            average = 1.0
        held += (release if held < average else patient) * (1.0 - held)
        if held > _UNITY:
            held = 1.0
        held = min(held, least)
        sum_a += held - ring_a[(clock - box_a) & mask]
        ring_a[clock & mask] = held
        smooth = sum_a / box_a
        sum_b += smooth - ring_b[(clock - box_b) & mask]
        ring_b[clock & mask] = smooth
        calm = calm + 1.0 if held == 1.0 and average == 1.0 and level == 1.0 else 0.0
        levels[clock & mask] = level
        needs[n] = min(1.0, sum_b / box_b) * levels[(clock - window) & mask]
        clock += 1
    state[:_CLOCK] = held, average, level, sum_a, sum_b, calm
    state[_CLOCK], state[_HEAD], state[_TAIL], state[_LAST] = clock, head, tail, last


@njit(cache=True, nogil=True, fastmath=True)
def _greatest(samples):  # type: ignore[no-untyped-def]
    peak = np.float32(0.0)
    for n in range(samples.shape[0]):
        peak = max(peak, abs(samples[n]))
    return peak


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _gaps(line, halves, peaks):  # type: ignore[no-untyped-def]
    """Raises `peaks` to what each frame and the gap behind it reach.

    `line` holds 11 frames before the first and 12 after the last. Phases 1 and 3 are
    even + odd and even - odd; the greater magnitude is the sum of both.
    """
    even, odd = np.zeros(RUN_FRAMES, np.float32), np.zeros(RUN_FRAMES, np.float32)
    middle = np.zeros(RUN_FRAMES, np.float32)
    for k in range(_HALF):
        a, b, c = halves[0, k], halves[1, k], halves[2, k]
        for n in range(RUN_FRAMES):
            near, far = line[n + k], line[n + 2 * _HALF - 1 - k]
            even[n] += a * (near + far)
            odd[n] += b * (near - far)
            middle[n] += c * (near + far)
    for n in range(RUN_FRAMES):
        here = max(abs(line[n + _HALF - 1]), abs(middle[n]), abs(even[n]) + abs(odd[n]))
        peaks[n] = max(peaks[n], here)
