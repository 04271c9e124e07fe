"""The bar-pointer state space, one hop at a time: the causal sister of `state_space`.

The same model and the same exact decoding; what is kept is how the likeliest way into each tempo
came about during the last seconds, so that beats can be traced back from any moment.
"""

import numpy as np
from numba import njit

from chorale_analysis.state_space import OBSERVED_SHARE, Floats, Integers, tempo_changes

_LEAST = 1e-3


class Pointer:
    """Where in the beat the music is, and how it got there."""

    def __init__(
        self, periods: Integers, tempo_prior: Floats, transition_lambda: float, kept_hops: int
    ) -> None:
        self.periods, self._kept = periods, kept_hops
        self._change = tempo_changes(periods, transition_lambda) + tempo_prior[None, :]
        self._firsts = np.concatenate([[0], np.cumsum(periods)[:-1]])
        self._state = np.repeat(tempo_prior - np.log(periods), periods)
        self._next = np.empty_like(self._state)
        self._came_from = np.empty((2 * kept_hops, len(periods)), np.int16)
        self._filled = 0
        self.hop_count = 0

    def advance(self, activation: Floats) -> None:
        """Goes on by as many hops as there are activations, at most as many as are kept."""
        if self._filled + len(activation) > len(self._came_from):
            self._came_from[: self._kept] = self._came_from[
                self._filled - self._kept : self._filled
            ]
            self._filled = self._kept
        rows = self._came_from[self._filled : self._filled + len(activation)]
        likely = np.clip(activation, _LEAST, 1.0 - _LEAST)
        on_beat, off_beat = np.log(likely), np.log((1.0 - likely) / (OBSERVED_SHARE - 1))
        self._state, self._next = _advance(
            on_beat,
            off_beat,
            self.periods,
            self._firsts,
            self._change,
            self._state,
            self._next,
            rows,
        )
        self._filled += len(activation)
        self.hop_count += len(activation)

    def beats(self, hop_count: int) -> tuple[Integers, Integers]:
        """Beats of the last so many hops and how long each is, by the likeliest way here."""
        count = min(hop_count, self._filled, self.hop_count)
        rows = self._came_from[self._filled - count : self._filled]
        hops, tempi = _traced(self._state, self.periods, self._firsts, rows)
        return hops + (self.hop_count - count), self.periods[tempi]


@njit(cache=True, nogil=True)
def _advance(  # type: ignore[no-untyped-def]
    on_beat, off_beat, periods, firsts, change, before, now, came_from
):
    tempo_count = len(periods)
    for hop in range(len(on_beat)):
        most = -np.inf
        for tempo in range(tempo_count):
            best, source = -np.inf, 0
            for other in range(tempo_count):
                score = before[firsts[other] + periods[other] - 1] + change[other, tempo]
                if score > best:
                    best, source = score, other
            came_from[hop, tempo] = source
            first, period = firsts[tempo], periods[tempo]
            sounding = -(-period // OBSERVED_SHARE)
            now[first] = best + on_beat[hop]
            most = max(most, now[first])
            for place in range(1, sounding):
                now[first + place] = before[first + place - 1] + on_beat[hop]
            for place in range(sounding, period):
                now[first + place] = before[first + place - 1] + off_beat[hop]
        for state in range(len(now)):  # a stream without end would otherwise run out of digits
            now[state] -= most
        before, now = now, before
    return before, now


@njit(cache=True, nogil=True)
def _traced(state, periods, firsts, came_from):  # type: ignore[no-untyped-def]
    """Hops, counted from the first row, at which beats begin; newest way first, then turned."""
    at = int(np.argmax(state))
    tempo = int(np.searchsorted(firsts, at, side="right")) - 1
    place = at - firsts[tempo]
    hops = np.empty(len(came_from), np.int64)
    tempi = np.empty(len(came_from), np.int64)
    count = 0
    hop = len(came_from) - 1
    while hop - place >= 0:
        hop -= place
        hops[count], tempi[count] = hop, tempo
        count += 1
        tempo = came_from[hop, tempo]
        place = periods[tempo]  # one more than its last place: the hop before the beat is that
    return hops[:count][::-1].copy(), tempi[:count][::-1].copy()


def periods_between(bpm_min: float, bpm_max: float, hops_per_second: float) -> Integers:
    """The beat lengths thought of, in hops."""
    fastest, slowest = (60.0 * hops_per_second / bpm for bpm in (bpm_max, bpm_min))
    return np.arange(max(2, round(fastest)), max(2, round(slowest)) + 1)
