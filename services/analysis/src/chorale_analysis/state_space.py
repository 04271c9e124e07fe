"""A bar-pointer state space: where in the beat the music is, and how fast it goes.

One state for every tempo and every hop since the last beat; time moves the pointer on by one, and
only at a beat may the tempo change (Krebs, Boeck and Widmer, ISMIR 2015; the model is that of
Whiteley, Cemgil and Godsill, ISMIR 2006). Decoded exactly, by the Viterbi algorithm.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

OBSERVED_SHARE = 16  # a beat is expected to sound during the first 1/16 of it
_LEAST = 1e-3  # no activation says more than a thousand to one

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Path:
    """The likeliest way through: where beats begin and, at each, how long it lasts."""

    beat_hops: Integers
    periods: Integers


def decode(
    activation: Floats, periods: Integers, tempo_prior: Floats, transition_lambda: float
) -> Path:
    """Finds the likeliest beats.

    `activation` in [0, 1] for every hop; `periods` the beat lengths thought of, in hops;
    `tempo_prior` the log likelihood of each, taken once a beat.
    """
    likely = np.clip(activation, _LEAST, 1.0 - _LEAST)
    on_beat, off_beat = np.log(likely), np.log((1.0 - likely) / (OBSERVED_SHARE - 1))
    change = tempo_changes(periods, transition_lambda)
    firsts = np.concatenate([[0], np.cumsum(periods)[:-1]])
    tempo, place = _viterbi(
        on_beat, off_beat, periods, firsts, change + tempo_prior[None, :], tempo_prior
    )
    beats = np.flatnonzero(place == 0)
    return Path(loudest(activation, beats, periods[tempo[beats]]), periods[tempo[beats]])


def tempo_changes(periods: Integers, transition_lambda: float) -> Floats:
    """How likely each period is after each, as logarithms: rows are what was before."""
    ratio = periods[None, :] / periods[:, None]
    change: Floats = -transition_lambda * np.abs(ratio - 1.0)
    change -= np.log(np.exp(change).sum(axis=1, keepdims=True))
    return change


def loudest(activation: Floats, beats: Integers, periods: Integers) -> Integers:
    """Moves each beat to the greatest activation within the part of it that should sound."""
    moved = beats.copy()
    for number, (beat, period) in enumerate(zip(beats, periods, strict=True)):
        sounding = activation[beat : beat + -(-period // OBSERVED_SHARE)]
        moved[number] = beat + int(np.argmax(sounding))
    return moved


@njit(cache=True)
def _viterbi(on_beat, off_beat, periods, firsts, change, prior):  # type: ignore[no-untyped-def]
    tempo_count, hop_count = len(periods), len(on_beat)
    before = np.empty(firsts[-1] + periods[-1])
    now = np.empty_like(before)
    for tempo in range(tempo_count):
        for place in range(periods[tempo]):
            before[firsts[tempo] + place] = prior[tempo] - np.log(periods[tempo])
    came_from = np.empty((hop_count, tempo_count), np.int16)
    for hop in range(hop_count):
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
            for place in range(1, sounding):
                now[first + place] = before[first + place - 1] + on_beat[hop]
            for place in range(sounding, period):
                now[first + place] = before[first + place - 1] + off_beat[hop]
        before, now = now, before
    state = int(np.argmax(before))
    at_tempo = int(np.searchsorted(firsts, state, side="right")) - 1
    at_place = state - firsts[at_tempo]
    tempi = np.empty(hop_count, np.int64)
    places = np.empty(hop_count, np.int64)
    for hop in range(hop_count - 1, -1, -1):
        tempi[hop], places[hop] = at_tempo, at_place
        if at_place == 0:
            at_tempo = came_from[hop, at_tempo]
            at_place = periods[at_tempo] - 1
        else:
            at_place -= 1
    return tempi, places
