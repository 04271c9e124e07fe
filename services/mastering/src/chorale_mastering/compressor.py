"""A compressor: feed-forward, linked over all channels, with a soft knee."""

import math

import numpy as np
from numba import njit

from chorale_mastering.block import Hopped, Samples
from chorale_mastering.detector import Detector, hop_frames
from chorale_mastering.dynamics import Compression
from chorale_mastering.reductions import Reductions

# The loudest twentieth of a programme is turned down by no more than this when the threshold is
# found from it: beyond, compression is heard as such.
_DEEPEST_DB = 6.0


class Compressor(Hopped):
    """Turns loud passages down (Giannoulis, Massberg and Reiss, JAES 60(6), 2012).

    The gain computer is their eq. 4, the ballistics their smooth decoupled detector (eq. 17) on
    the reduction in dB. It is told once a hop and runs straight in between. Silence stays
    silence; a constant level is turned down by a constant gain.
    """

    def __init__(self, sample_rate_hz: int, channel_count: int, compression: Compression) -> None:
        hop = hop_frames(sample_rate_hz)
        super().__init__(channel_count, hop, 0)
        self._detector = Detector(sample_rate_hz, channel_count, compression.sidechain_highpass_hz)
        threshold = compression.threshold_dbfs
        if threshold is None:
            raise ValueError("A compressor needs its threshold; `found` finds one.")

        self.threshold_dbfs = threshold

        def keep(milliseconds: float) -> float:
            return math.exp(-1000.0 * hop / (milliseconds * sample_rate_hz))

        self._computer = np.array(
            [
                threshold,
                1.0 - 1.0 / compression.ratio,
                max(compression.knee_db, 1e-6),
                keep(compression.attack_ms),
                keep(compression.release_ms),
                compression.mix_percent / 100.0,
            ]
        )
        self._state = np.array([0.0, 0.0, 1.0])  # two envelopes in dB, and the last gain
        self.reductions = Reductions(sample_rate_hz, hop)

    def _advance(self, line: Samples) -> Samples:
        gains = np.empty(len(line) // self._hop_frames, np.float32)
        _gains(self._detector.levels(line), self._computer, self._state, gains)
        out = np.empty_like(line)
        before = np.float32(self._state[2])
        if len(gains):
            _apply(line, gains, before, self._hop_frames, out)
            self._state[2] = gains[-1]
        self.reductions.push(gains)
        return out


@njit(cache=True, nogil=True)
def _gains(levels, computer, state, gains):  # type: ignore[no-untyped-def]
    """From levels in dB to gains: eq. 4, eq. 17, and the mix with the dry sound."""
    threshold, slope, knee, attack, release, mix = computer
    slow, smooth = state[0], state[1]
    for n in range(np.uintp(levels.shape[0])):
        over = levels[n] - threshold
        wanted = 0.0
        if 2.0 * over >= knee:
            wanted = slope * over
        elif 2.0 * over > -knee:
            wanted = slope * (over + knee / 2.0) ** 2 / (2.0 * knee)
        slow = max(wanted, release * slow + (1.0 - release) * wanted)
        smooth = attack * smooth + (1.0 - attack) * slow
        if smooth < 1e-4 and wanted == 0.0:  # under a ten-thousandth of a dB is nothing
            slow = smooth = 0.0
        gain = 1.0 if smooth == 0.0 else math.exp(smooth * -0.11512925464970229)  # ln(10) / 20
        gains[n] = 1.0 - mix + mix * gain
    state[0], state[1] = slow, smooth


@njit(cache=True, nogil=True)
def _apply(line, gains, before, hop, out):  # type: ignore[no-untyped-def]
    """Multiplies, running straight from each gain to the next."""
    share = np.float32(1.0 / hop)
    for number in range(gains.shape[0]):
        step = (gains[number] - before) * share
        for k in range(np.uintp(hop)):
            gain = before + step * np.float32(k + np.uintp(1))
            n = np.uintp(number * hop) + k
            for channel in range(np.uintp(line.shape[1])):
                out[n, channel] = line[n, channel] * gain
        before = gains[number]
