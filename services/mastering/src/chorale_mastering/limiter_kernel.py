"""The arithmetic of the limiter: runs of 64 frames, counted from the start of the sound."""

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering.true_peak import OVERSAMPLING, TAP_COUNT, interpolator

RUN_FRAMES = 64
AHEAD_FRAMES = TAP_COUNT // 2  # what the interpolation between two frames needs after the first
_HALF = TAP_COUNT // 2
_KAISER_BETA = 5.0  # as the meter's

# A run whose quarters stay this far under the ceiling hides nothing above it: between a quarter
# and an eighth of the highest tone lie 0.52 dB.
_WORTH_OTHERS = np.float32(0.92)

# Gains are kept as what they take, `1 - gain`. What takes less than this (-100 dB) takes nothing:
# releases end, and untouched sound stays untouched.
_NOTHING = 1e-5
_NOTHING_ON_AVERAGE = 1e-4  # the average only steers the pace of releases

# Places in the state.
_HELD, _AVERAGE, _LEVEL, _SUM_A, _SUM_B, _LAST, _PREFIX = range(7)
_CLOCK, _CALM, _PHASE = range(3)  # in frames, frames, and frames into the window's own block


class Memory:
    """What a limiter remembers from run to run."""

    def __init__(self, window_frames: int, boxes: tuple[int, int]) -> None:
        self.state = np.zeros(7)
        self.clocks = np.zeros(3, np.int64)
        self.clocks[_CALM] = 1 << 60
        self.sizes = np.array([window_frames, *boxes])
        # Rings of the held reduction, of its first average and of the level; sizes are powers
        # of 2, so that a place is a mask away.
        self.rings = np.zeros((3, 1 << (window_frames + RUN_FRAMES + 2).bit_length()))
        self.block = np.zeros((2, window_frames + 1))  # this block of needs; suffixes of the last

    def arrays(self) -> tuple[npt.NDArray[np.generic], ...]:
        """All of it, as the kernel takes it."""
        return self.state, self.clocks, self.sizes, self.rings, self.block


def detector() -> tuple[npt.NDArray[np.float32], np.float32]:
    """Interpolators by their symmetry, and the most they can amplify.

    Rows 0 to 2 are the meter's own: values a quarter, a half and three quarters of a frame on.
    Rows 3 to 6 are those of the odd eighths: of noise up to half the rate, a grid of quarters
    misses half a dB that a meter on another grid will find. Rows 7 to 9 are quarters again by
    half as many taps, as shorter meters have them; they read noise up to 0.4 dB higher.
    """
    eighths, short = _eighths(), _short()
    taps = interpolator()
    pairs = ((taps[0], taps[2]), (eighths[0], eighths[3]), (eighths[1], eighths[2]))
    rows = []
    for near, far in pairs:  # each the other's mirror image
        rows += [((near + far) / 2)[:_HALF], ((near - far) / 2)[:_HALF]]
    rows.insert(2, taps[1][:_HALF])
    rows += [
        ((short[0] + short[2]) / 2)[:_HALF],
        ((short[0] - short[2]) / 2)[:_HALF],
        short[1][:_HALF],
    ]
    sums = np.abs(np.concatenate([taps, eighths, short])).sum(axis=1)
    return np.stack(rows), np.float32(sums.max() * (1.0 + 1e-5))


def _eighths() -> npt.NDArray[np.float32]:
    """The meter's interpolator between its own phases: 1, 3, 5 and 7 eighths of a frame on."""
    phases = np.array([1.0, 3.0, 5.0, 7.0])[:, None] / 8.0
    distance = np.arange(TAP_COUNT)[None, :] - (_HALF - 1) - phases
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0.0, 1.0 - (distance / _HALF) ** 2)))
    taps = np.sinc(distance) * window
    filters: npt.NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters


def _short() -> npt.NDArray[np.float32]:
    """Quarters by 12 taps of a Hann-windowed sinc, the length that BS.1770-5, Annex 2 shows."""
    phases = np.arange(1, OVERSAMPLING)[:, None] / OVERSAMPLING
    distance = np.arange(TAP_COUNT)[None, :] - (_HALF - 1) - phases
    reach = TAP_COUNT / 4.0
    window = np.where(np.abs(distance) < reach, 0.5 + 0.5 * np.cos(np.pi * distance / reach), 0.0)
    return (np.sinc(distance) * window).astype(np.float32)


@njit(cache=True, nogil=True)
def limit(lines, out, levels, halves, times, memory, gains):  # type: ignore[no-untyped-def]
    """Limits whole runs; `lines` is `(channels, delay + AHEAD + frames)`, history first.

    Output frame i is `lines[:, i + AHEAD]`. The peaks that newly come are those of the frames
    `window` later, whose gaps end before the end of the line.
    """
    ceiling, reach = levels
    clocks, sizes = memory[1], memory[2]
    window = sizes[0]
    taken = np.empty(RUN_FRAMES, np.float64)
    peaks = np.empty(RUN_FRAMES, np.float32)
    # How long nothing must have been taken for all memory to be zero.
    settled = 2 * window + RUN_FRAMES
    for run in range(out.shape[0] // RUN_FRAMES):
        first = run * RUN_FRAMES
        calm = _heard(lines, first + window + AHEAD_FRAMES, ceiling, reach, halves, peaks)
        if calm and clocks[_CALM] >= settled:
            gains[run] = 1.0
            for channel in range(lines.shape[0]):
                for n in range(np.uintp(first), np.uintp(first + RUN_FRAMES)):
                    out[n, channel] = lines[channel, n + np.uintp(AHEAD_FRAMES)]
            continue
        if clocks[_CALM] >= settled:
            _forget(memory)
        for n in range(RUN_FRAMES):
            taken[n] = 1.0 - np.float64(ceiling) / max(peaks[n], ceiling)
        gains[run] = 1.0 - _follow(taken, times, memory)
        for channel in range(lines.shape[0]):
            for n in range(np.uintp(RUN_FRAMES)):
                value = lines[channel, np.uintp(first + AHEAD_FRAMES) + n]
                out[np.uintp(first) + n, channel] = value * np.float32(1.0 - taken[n])


@njit(cache=True, nogil=True)
def _heard(lines, start, ceiling, reach, halves, peaks):  # type: ignore[no-untyped-def]
    """Finds what each of 64 frames and the gap behind it reach; whether all stay below."""
    peaks[:] = 0.0
    near = False
    for channel in range(lines.shape[0]):
        line = lines[channel, start - _HALF + 1 : start + RUN_FRAMES + _HALF]
        if _greatest(line) * reach > ceiling:
            _quarters(line, halves, peaks)
            near = True
    if not near or _greatest(peaks) <= _WORTH_OTHERS * ceiling:
        return True
    for channel in range(lines.shape[0]):
        _others(lines[channel, start - _HALF + 1 : start + RUN_FRAMES + _HALF], halves, peaks)
    return _greatest(peaks) <= ceiling


@njit(cache=True, nogil=True)
def peaks_of_runs(lines, count, halves):  # type: ignore[no-untyped-def]
    """The greatest that each run of 64 frames and its gaps reach in any channel.

    `lines` is `(channels, 23 + frames)`, history first; peaks lie 12 frames behind.
    """
    out = np.zeros(count, np.float32)
    peaks = np.empty(RUN_FRAMES, np.float32)
    for run in range(count):
        peaks[:] = 0.0
        for channel in range(lines.shape[0]):
            line = lines[channel, run * RUN_FRAMES : (run + 1) * RUN_FRAMES + 2 * _HALF - 1]
            _quarters(line, halves, peaks)
            _others(line, halves, peaks)
        out[run] = _greatest(peaks)
    return out


@njit(cache=True, nogil=True)
def _forget(memory):  # type: ignore[no-untyped-def]
    """Puts all memory to where nothing was taken for long."""
    state, clocks, _, rings, block = memory
    state[:] = 0.0
    clocks[:] = 0
    rings[:] = 0.0
    block[:] = 0.0


@njit(cache=True, nogil=True)
def _follow(taken, times, memory):  # type: ignore[no-untyped-def]
    """Turns what frames need taken into what is taken `window` frames before, in place.

    Returns the most of it.
    """
    state, clocks, sizes, rings, block = memory
    level_ring = rings[2]
    mask = np.uintp(rings.shape[1] - 1)
    clock = np.uintp(clocks[_CLOCK])
    delayed = clock - np.uintp(sizes[0])  # wraps around, as the mask does
    if times[3] > 0.0:
        _level(taken, times, state, clock, mask, level_ring)
    last = state[_LAST]
    for n in range(RUN_FRAMES):  # a gap belongs to the frames on both its sides
        here = taken[n]
        taken[n] = max(here, last)
        last = here
    state[_LAST] = last
    _greatest_ahead(taken, state, clocks, sizes, block)
    _release(taken, times, state)
    _smooth(taken, sizes, state, clock, mask, rings)
    quiet = state[_HELD] == 0.0 and state[_AVERAGE] == 0.0 and state[_LEVEL] == 0.0
    clocks[_CALM] = clocks[_CALM] + RUN_FRAMES if quiet else 0
    clocks[_CLOCK] += RUN_FRAMES
    if times[3] > 0.0:
        for n in range(np.uintp(RUN_FRAMES)):
            level = level_ring[(delayed + n) & mask]
            taken[n] = taken[n] + level - taken[n] * level
    most = 0.0
    for n in range(RUN_FRAMES):
        most = max(most, taken[n])
    return most


@njit(cache=True, nogil=True)
def _level(taken, times, state, clock, mask, ring):  # type: ignore[no-untyped-def]
    """The slow stage: a level that creeps to what is needed; peaks are left with the rest."""
    attack, release = times[3], times[4]
    level = state[_LEVEL]
    for n in range(np.uintp(RUN_FRAMES)):
        need = taken[n]
        level += (attack if need > level else release) * ((need if need > level else 0.0) - level)
        taken[n] = max(0.0, 1.0 - (1.0 - need) / (1.0 - level))
        ring[(clock + n) & mask] = level
    state[_LEVEL] = 0.0 if level < _NOTHING else level


@njit(cache=True, nogil=True)
def _greatest_ahead(taken, state, clocks, sizes, block):  # type: ignore[no-untyped-def]
    """The greatest of the last `window + 1`, in place (van Herk 1992; Gil and Werman 1993).

    Time is cut into blocks of that length: a window is the end of one block and the beginning
    of the next, and the greatest of either is carried along.
    """
    length = np.uintp(sizes[0] + 1)
    phase = np.uintp(clocks[_PHASE])
    prefix = state[_PREFIX]
    here, suffix = block
    for n in range(np.uintp(RUN_FRAMES)):
        need = taken[n]
        here[phase] = need
        prefix = max(prefix, need)
        phase += np.uintp(1)
        if phase == length:
            taken[n] = prefix
            most = 0.0
            for k in range(np.uintp(1), length):
                most = max(most, here[length - k])
                suffix[length - k] = most
            phase, prefix = np.uintp(0), 0.0
        else:
            taken[n] = max(prefix, suffix[phase])
    state[_PREFIX] = prefix
    clocks[_PHASE] = phase


@njit(cache=True, nogil=True)
def _release(taken, times, state):  # type: ignore[no-untyped-def]
    """Takes at once and lets go slowly, the more slowly below its own average, in place."""
    keep, patient, average_by = 1.0 - times[0], 1.0 - times[1], times[2]
    held, average = state[_HELD], state[_AVERAGE]
    for n in range(np.uintp(RUN_FRAMES)):
        need = taken[n]
        average += average_by * (need - average)
        held = max(need, held * (keep if held > average else patient))
        taken[n] = held
    state[_HELD] = 0.0 if held < _NOTHING else held
    state[_AVERAGE] = 0.0 if average < _NOTHING_ON_AVERAGE else average


@njit(cache=True, nogil=True)
def _smooth(taken, sizes, state, clock, mask, rings):  # type: ignore[no-untyped-def]
    """Averages over one box and again over another, in place."""
    box_a, box_b = np.uintp(sizes[1]), np.uintp(sizes[2])
    share_a, share_b = 1.0 / sizes[1], 1.0 / sizes[2]
    sum_a, sum_b = state[_SUM_A], state[_SUM_B]
    ring_a, ring_b = rings[0], rings[1]
    for n in range(np.uintp(RUN_FRAMES)):
        now = clock + n
        sum_a += taken[n] - ring_a[(now - box_a) & mask]
        ring_a[now & mask] = taken[n]
        smooth = sum_a * share_a
        sum_b += smooth - ring_b[(now - box_b) & mask]
        ring_b[now & mask] = smooth
        taken[n] = min(1.0, max(0.0, sum_b * share_b))
    state[_SUM_A], state[_SUM_B] = sum_a, sum_b


@njit(cache=True, nogil=True, fastmath=True)
def _greatest(samples):  # type: ignore[no-untyped-def]
    peak = np.float32(0.0)
    for n in range(samples.shape[0]):
        peak = max(peak, abs(samples[n]))
    return peak


@njit(cache=True, nogil=True, fastmath=True)
def _quarters(line, halves, peaks):  # type: ignore[no-untyped-def]
    """Raises `peaks` to what each frame and the quarters of the gap behind it reach.

    `line` holds 11 frames before the first and 12 after the last. Phases 1 and 3 are
    even + odd and even - odd; the greater magnitude is the sum of both.
    """
    for n in range(np.uintp(RUN_FRAMES)):  # unsigned: numba then tests for no negative index
        even = odd = middle = np.float32(0.0)
        for k in range(np.uintp(_HALF)):
            near, far = line[n + k], line[n + np.uintp(2 * _HALF - 1) - k]
            even += halves[0, k] * (near + far)
            odd += halves[1, k] * (near - far)
            middle += halves[2, k] * (near + far)
        here = max(abs(line[n + np.uintp(_HALF - 1)]), abs(middle), abs(even) + abs(odd))
        peaks[n] = max(peaks[n], here)


@njit(cache=True, nogil=True, fastmath=True)
def _others(line, halves, peaks):  # type: ignore[no-untyped-def]
    """Raises `peaks` to what the odd eighths and the short quarters of the gaps reach.

    The line is that of `_quarters`.
    """
    for n in range(np.uintp(RUN_FRAMES)):
        outer_even = outer_odd = inner_even = inner_odd = np.float32(0.0)
        for k in range(np.uintp(_HALF)):
            near, far = line[n + k], line[n + np.uintp(2 * _HALF - 1) - k]
            outer_even += halves[3, k] * (near + far)
            outer_odd += halves[4, k] * (near - far)
            inner_even += halves[5, k] * (near + far)
            inner_odd += halves[6, k] * (near - far)
        here = max(abs(outer_even) + abs(outer_odd), abs(inner_even) + abs(inner_odd))
        peaks[n] = max(peaks[n], here)
    for n in range(np.uintp(RUN_FRAMES)):
        even = odd = middle = np.float32(0.0)
        for k in range(np.uintp(_HALF // 2), np.uintp(_HALF)):
            near, far = line[n + k], line[n + np.uintp(2 * _HALF - 1) - k]
            even += halves[7, k] * (near + far)
            odd += halves[8, k] * (near - far)
            middle += halves[9, k] * (near + far)
        peaks[n] = max(peaks[n], abs(middle), abs(even) + abs(odd))
