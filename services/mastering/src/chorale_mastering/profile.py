"""What a limiter and a meter will make of a programme, told from one number in 64."""

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_mastering import gating
from chorale_mastering.biquad import Cascade
from chorale_mastering.block import Samples
from chorale_mastering.limiter import LimiterTimes
from chorale_mastering.limiter_kernel import RUN_FRAMES, detector, peaks_of_runs
from chorale_mastering.plan import LoudnessMeasure
from chorale_mastering.scratch import Scratch
from chorale_mastering.true_peak import TAP_COUNT
from chorale_mastering.weighting import CHANNEL_WEIGHTS, highpass, shelf

_LONGEST_WINDOW_RUNS = 256
_NO_LOUDNESS = -200.0


class Profile:
    """The true peak, weighted power and plain power of successive runs of 64 frames.

    `loudness` foretells what limiting at some gain will measure, at a thousandth of the cost of
    limiting and measuring; it is near, not exact, so a search ends with a real measurement.
    """

    def __init__(
        self, sample_rate_hz: int, channel_count: int, directory: str | None = None
    ) -> None:
        self._rate_hz, self._channel_count = sample_rate_hz, channel_count
        self._weighting = Cascade((shelf(sample_rate_hz), highpass(sample_rate_hz)), channel_count)
        weights = CHANNEL_WEIGHTS.get(channel_count, (1.0,) * channel_count)
        self._weights = np.array(weights, np.float32)
        self._halves = detector()[0]
        self._pending = np.zeros((0, channel_count), np.float32)
        self._peak_line = np.zeros((channel_count, TAP_COUNT - 1), np.float32)
        self._rows = Scratch(3, directory)
        self._frame_count = 0
        self.true_peak = 0.0

    def push(self, block: Samples) -> None:
        """Takes the next frames."""
        self._frame_count += len(block)
        line = np.concatenate([self._pending, block]) if len(self._pending) else block
        whole = len(line) // RUN_FRAMES * RUN_FRAMES
        self._pending = line[whole:].copy()
        if whole:
            self._push(line[:whole])

    def finish(self) -> None:
        """Says that no more frames come."""
        count = 2 * RUN_FRAMES - len(self._pending)
        silence = np.zeros((count, self._channel_count), np.float32)
        self._push(np.concatenate([self._pending, silence]))

    def close(self) -> None:
        """Gives the room back."""
        self._rows.close()

    def loudness(
        self,
        gain: float,
        ceiling: float,
        times: LimiterTimes | None,
        measure: LoudnessMeasure = LoudnessMeasure.INTEGRATED,
    ) -> float | None:
        """About what is measured after this gain and limiting; None for what is gated out.

        Without `times` nothing is limited and the answer is near exact.
        """
        sums = np.zeros((2, self._frame_count * 10 // self._rate_hz + 2))
        window = max(1, -(-times.window_frames // RUN_FRAMES)) if times else 1
        window = min(window, _LONGEST_WINDOW_RUNS)
        coefficients = times.array() if times else np.zeros(5)
        pace = 1.0 - (1.0 - coefficients) ** RUN_FRAMES
        state = np.zeros(4)
        rings = np.zeros((4, window + 1))
        position = 0
        limit = ceiling if times else 1e30
        for rows in self._rows.blocks():
            _foretell(rows, (gain, limit), pace, state, rings, (position, self._rate_hz), sums)
            position += len(rows)
        return _measured(sums, self._rate_hz, self._channel_count, self._frame_count, measure)

    def _push(self, line: Samples) -> None:
        weighted = self._weighting.process(line)
        count = len(line) // RUN_FRAMES
        rows = np.empty((count, 3), np.float32)
        _powers(weighted, self._weights, rows[:, 1])
        _powers(line, np.ones_like(self._weights), rows[:, 2])
        lines = np.concatenate([self._peak_line, line.T], axis=1)
        rows[:, 0] = peaks_of_runs(lines, count, self._halves)
        self._peak_line = lines[:, -(TAP_COUNT - 1) :].copy()
        if count:
            self.true_peak = max(self.true_peak, float(rows[:, 0].max()))
        self._rows.append(rows)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _powers(line, weights, out):  # type: ignore[no-untyped-def]
    """The sum of weighted squares over each run."""
    for run in range(out.shape[0]):
        total = np.float32(0.0)
        for n in range(np.uintp(run * RUN_FRAMES), np.uintp((run + 1) * RUN_FRAMES)):
            for channel in range(np.uintp(line.shape[1])):
                total += weights[channel] * line[n, channel] * line[n, channel]
        out[run] = total


def _measured(
    sums: npt.NDArray[np.float64],
    rate_hz: int,
    channel_count: int,
    frame_count: int,
    measure: LoudnessMeasure,
) -> float | None:
    if measure is LoudnessMeasure.RMS:
        mean = float(sums[1].sum()) / max(1, frame_count * channel_count)
        return 10.0 * float(np.log10(mean)) if mean > 0.0 else None
    count = 4 if measure is LoudnessMeasure.INTEGRATED else 30
    whole = frame_count * 10 // rate_hz
    if whole < count:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(sums[0][:whole], count).sum(axis=1)
    blocks = windows / (count * rate_hz / 10.0)
    if measure is LoudnessMeasure.INTEGRATED:
        return gating.integrated_lufs(blocks)
    most = gating.loudness_of(float(blocks.max()))
    return most if most > _NO_LOUDNESS else None


@njit(cache=True, nogil=True)
def _foretell(rows, levels, pace, state, rings, place, sums):  # type: ignore[no-untyped-def]
    """The limiter of `limiter_kernel` with one step a run, and the power that leaves it."""
    gain, ceiling = levels
    release, patient, average_by, attack, level_release = pace
    held, average, level, clock = state
    position, rate = place
    needs, helds, weighted, plain = rings
    length = needs.shape[0]
    for row in range(rows.shape[0]):
        need = 1.0 - ceiling / max(rows[row, 0] * gain, ceiling)
        if attack > 0.0:
            level += (attack if need > level else level_release) * (need - level)
            need = max(0.0, 1.0 - (1.0 - need) / (1.0 - level))
        slot = int(clock) % length
        needs[slot], weighted[slot], plain[slot] = need, rows[row, 1], rows[row, 2]
        least = needs.max()
        average += average_by * (least - average)
        held = max(least, held * (1.0 - (release if held > average else patient)))
        helds[slot] = held
        clock += 1.0
        # What is taken is ready `length - 1` runs before the peak it is for.
        here = position + row - (length - 1)
        if here >= 0:
            left = gain * (1.0 - helds.mean()) * (1.0 - level)
            tenth = min(here * RUN_FRAMES * 10 // rate, sums.shape[1] - 1)
            slot = int(clock) % length
            sums[0, tenth] += weighted[slot] * left * left
            sums[1, tenth] += plain[slot] * left * left
    state[0], state[1], state[2], state[3] = held, average, level, clock
