"""Bars over beats: the likeliest, by the odds of each beat to be the first of one."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from chorale_analysis.heard_beats import Integers, near
from chorale_analysis.onsets import Floats, Onsets

_JUMP = -6.0  # nats: a beat too many or too few in a bar
_CHANGE = -5.0  # nats: bars of another length from here on
_COMPOUND_LEAD = 0.3  # deviations by which thirds of a beat are stronger than its half


def way(odds_of_first: Floats, length: int) -> tuple[Integers, float]:
    """The likeliest places in bars of this length, and their gain per beat over chance."""
    first, other = _gains(odds_of_first, length)
    places, gain = _decoded(first, other, length)
    return places, gain / len(first)


def changing_way(odds_of_first: Floats, lengths: Sequence[int]) -> Integers:
    """The likeliest places in bars whose length may change to any of these where one begins."""
    firsts, others = np.array([_gains(odds_of_first, length) for length in lengths]).swapaxes(0, 1)
    places: Integers = _decoded_changing(firsts, others, np.array(lengths))
    return places


def _gains(odds_of_first: Floats, length: int) -> tuple[Floats, Floats]:
    """What each beat gains over chance by being the first of such a bar, and by not being it."""
    odds = odds_of_first - np.log(length - 1)
    first, other = -np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)
    chance = first / length + other * (length - 1) / length
    return first - chance, other - chance


@njit(cache=True)
def _decoded(first, other, length):  # type: ignore[no-untyped-def]
    count = len(first)
    score = np.full(length, other[0])
    score[0] = first[0]
    came = np.zeros((count, length), np.int64)
    for beat in range(1, count):
        best = int(np.argmax(score))
        jump = score[best] + _JUMP
        now = np.empty(length)
        for place in range(length):
            before = (place - 1) % length
            goes_on = score[before] >= jump
            came[beat, place] = before if goes_on else best
            now[place] = score[before] if goes_on else jump
            now[place] += first[beat] if place == 0 else other[beat]
        score = now
    places = np.zeros(count, np.int64)
    places[-1] = int(np.argmax(score))
    for beat in range(count - 1, 0, -1):
        places[beat - 1] = came[beat, places[beat]]
    return places, score.max()


@njit(cache=True)
def _decoded_changing(firsts, others, lengths):  # type: ignore[no-untyped-def]
    # States are the places of all bar lengths, one length after another.
    count, ends = firsts.shape[1], np.cumsum(lengths)
    starts = ends - lengths
    score = np.empty(ends[-1])
    came = np.zeros((count, ends[-1]), np.int64)
    for kind in range(len(lengths)):
        score[starts[kind] : ends[kind]] = others[kind, 0]
        score[starts[kind]] = firsts[kind, 0]
    for beat in range(1, count):
        best = int(np.argmax(score))
        last = ends[int(np.argmax(score[ends - 1]))] - 1  # the likeliest bar to end here
        now = np.empty(ends[-1])
        for kind in range(len(lengths)):
            for place in range(starts[kind], ends[kind]):
                before, here = place - 1, others[kind, beat]
                if place == starts[kind]:
                    before, here = ends[kind] - 1, firsts[kind, beat]
                    if score[last] + _CHANGE > score[before]:
                        before = last
                change = _CHANGE if place == starts[kind] and before != ends[kind] - 1 else 0.0
                now[place] = score[before] + change
                if score[best] + _JUMP > now[place]:
                    before, now[place] = best, score[best] + _JUMP
                came[beat, place] = before
                now[place] += here
        score = now
    places = np.zeros(count, np.int64)
    state = int(np.argmax(score))
    for beat in range(count - 1, -1, -1):
        places[beat] = state - starts[np.searchsorted(ends, state, side="right")]
        state = came[beat, state]
    return places


def is_compound(heard: Onsets, seconds: Floats) -> bool:
    """Whether beats are of three parts: more begins at their thirds than at their halves."""
    lengths = np.diff(seconds)

    def strength(share: float) -> float:
        found = near(heard.strength, seconds[:-1] + share * lengths, 0.02)
        return float(np.clip(found, -1.0, 4.0).mean())

    thirds = 0.5 * (strength(1.0 / 3.0) + strength(2.0 / 3.0))
    return thirds - strength(0.5) > _COMPOUND_LEAD
