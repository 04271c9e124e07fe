"""A bar-pointer state space: where in the bar the music is, and how fast it goes.

One state for every tempo and every frame of the bar; time moves the pointer on by one, and only at
a beat may the tempo change (Krebs, Boeck and Widmer, ISMIR 2015). Decoded exactly, by the Viterbi
algorithm, from chances of beats and of downbeats.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from chorale_analysis.state_space import (
    OBSERVED_SHARE,
    Floats,
    Integers,
    loudest,
    tempo_changes,
)

_TEMPI = 60
_LEAST = 1e-6


@dataclass(frozen=True)
class BarPath:
    """The likeliest way through bars of one length."""

    frames: Integers  # where beats begin
    places: Integers  # of each in its bar, counted from 1
    score: float  # log likelihood per frame


def tempi(frames_per_second: float, bpm_min: float, bpm_max: float) -> Integers:
    """The beat lengths thought of, in frames: all, or evenly many in every octave."""
    fastest = max(2, int(np.floor(60.0 * frames_per_second / bpm_max)))
    slowest = max(fastest, int(np.ceil(60.0 * frames_per_second / bpm_min)))
    if slowest - fastest < _TEMPI:
        return np.arange(fastest, slowest + 1)
    return np.unique(np.round(np.geomspace(fastest, slowest, _TEMPI)).astype(np.int64))


def decode_bars(
    beats: Floats,
    downbeats: Floats,
    periods: Integers,
    beats_per_bar: int,
    transition_lambda: float,
) -> BarPath:
    """Finds the likeliest beats in bars of this length.

    `beats` and `downbeats` are chances in [0, 1] for every frame, of beats within the bar and of
    those that begin it.
    """
    neither = np.maximum(1.0 - beats - downbeats, _LEAST) / (OBSERVED_SHARE - 1)
    seen = np.log(np.stack([np.maximum(beats, _LEAST), np.maximum(downbeats, _LEAST), neither]))
    change = tempo_changes(periods, transition_lambda)
    tempo, place, score = _viterbi(seen, periods, change, beats_per_bar)
    phase, within = place // periods[-1], place % periods[-1]
    starts = np.flatnonzero(within == 0)
    frames = loudest(np.maximum(beats, downbeats), starts, periods[tempo[starts]])
    return BarPath(frames, phase[starts] + 1, score / len(beats))


@njit(cache=True)
def _viterbi(seen, periods, change, beats_per_bar):  # type: ignore[no-untyped-def]
    tempi, longest, count = len(periods), periods[-1], seen.shape[1]
    # Within a beat nothing is decided: a beat's states are a ring, and only its head moves.
    ring = np.zeros((beats_per_bar, tempi, longest))
    came = np.zeros((count, beats_per_bar, tempi), np.int16)
    heads = np.zeros(tempi, np.int64)
    for beat in range(beats_per_bar):
        for tempo in range(tempi):
            for place in range(periods[tempo]):
                ring[beat, tempo, place] = -np.log(periods[tempo] * beats_per_bar)
    sums = np.zeros(count + 1)
    for frame in range(count):
        sums[frame + 1] = sums[frame] + seen[2, frame]
    leaving = np.empty((beats_per_bar, tempi))
    for frame in range(count):
        for tempo in range(tempi):
            period = periods[tempo]
            heads[tempo] = (heads[tempo] - 1) % period
            for beat in range(beats_per_bar):
                leaving[beat, tempo] = ring[beat, tempo, heads[tempo]]
        for beat in range(beats_per_bar):
            before = (beat - 1) % beats_per_bar
            row = 1 if beat == 0 else 0
            for tempo in range(tempi):
                best, source = -np.inf, 0
                for other in range(tempi):
                    score = leaving[before, other] + change[other, tempo]
                    if score > best:
                        best, source = score, other
                came[frame, beat, tempo] = source
                period = periods[tempo]
                sounding = -(-period // OBSERVED_SHARE)
                # Scores are told less the sum of "neither" so far: only what sounds is added.
                ring[beat, tempo, heads[tempo]] = best
                for place in range(min(sounding, frame + 1)):
                    at = (heads[tempo] + place) % period
                    ring[beat, tempo, at] += seen[row, frame] - seen[2, frame]
    best, at_beat, at_tempo, at_place = -np.inf, 0, 0, 0
    for beat in range(beats_per_bar):
        for tempo in range(tempi):
            for place in range(periods[tempo]):
                score = ring[beat, tempo, (heads[tempo] + place) % periods[tempo]]
                if score > best:
                    best, at_beat, at_tempo, at_place = score, beat, tempo, place
    tempo_of = np.empty(count, np.int64)
    place_of = np.empty(count, np.int64)
    for frame in range(count - 1, -1, -1):
        tempo_of[frame] = at_tempo
        place_of[frame] = at_beat * longest + at_place
        if at_place == 0:
            at_tempo = came[frame, at_beat, at_tempo]
            at_beat = (at_beat - 1) % beats_per_bar
            at_place = periods[at_tempo] - 1
        else:
            at_place -= 1
    return tempo_of, place_of, best + sums[count]
