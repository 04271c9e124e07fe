"""Bars over beats: how much each beat is like the first of one, and the likeliest bars."""

import numpy as np
import numpy.typing as npt
from numba import njit

from chorale_analysis.learned import FIRST_BIAS, FIRST_WEIGHTS
from chorale_analysis.onsets import CLASSES_PER_SECOND, HOPS_PER_SECOND, Floats, Onsets

Integers = npt.NDArray[np.int64]

_JUMP = -6.0  # nats: a beat too many or too few in a bar
_COMPOUND_LEAD = 0.3  # deviations by which thirds of a beat are stronger than its half
_SPREAD_OF_DRUMS, _SPREAD_OF_MUSIC = 0.2, 0.35  # of pitch classes, over their mean
_WITHIN = (0.25, 0.33, 0.5, 0.67, 0.75)  # of a beat: where more begins if it is divided


def firstness(heard: Onsets, seconds: Floats) -> Floats:
    """The odds of each beat to be the first of a bar, in nats, by it and three to either side.

    What counts: the bass, cymbals, what begins on the beat and within it, and how far harmony
    changes against one, two and four beats before.
    """
    row = np.stack(heard_at(heard, seconds), axis=1)
    around = len(FIRST_WEIGHTS) // 2
    padded = np.pad(row, ((around, around), (0, 0)))
    odds: Floats = FIRST_BIAS + sum(
        (padded[place : place + len(row)] @ weights for place, weights in enumerate(FIRST_WEIGHTS)),
        np.zeros(len(row)),
    )
    return odds


def heard_at(heard: Onsets, seconds: Floats) -> list[Floats]:
    """What is heard at each beat that may tell the first of a bar, kind by kind."""
    classes = classes_between(heard, seconds)
    tonal = tonality(classes)
    lengths = np.append(np.diff(seconds), np.median(np.diff(seconds)))
    strength = np.clip(heard.strength, -1.5, 4.0)
    within = [np.clip(near(strength, seconds + at * lengths), -1.0, 4.0) for at in _WITHIN]
    return [
        standard(near(heard.bass, seconds)),
        standard(near(heard.treble, seconds)),
        standard(near(strength, seconds)),
        *(tonal * standard(changes(classes, beats)) for beats in (1, 2, 4)),
        standard(np.mean(within, axis=0)),
        standard(near(heard.bass, seconds + 0.5 * lengths)),
        standard(near(heard.raw, seconds)),
    ]


def tonality(classes: Floats) -> float:
    """Whether notes sound and no drums or noise alone, in [0, 1], by how classes are spread."""
    spread = float(np.mean(classes.std(axis=1) / (classes.mean(axis=1) + 1e-9)))
    share = (spread - _SPREAD_OF_DRUMS) / (_SPREAD_OF_MUSIC - _SPREAD_OF_DRUMS)
    return float(np.clip(share, 0.0, 1.0))


def classes_between(heard: Onsets, seconds: Floats) -> Floats:
    """The pitch classes from each beat to the next, each of length 1."""
    edges = np.append(seconds, seconds[-1] + np.median(np.diff(seconds)))
    places = np.round(edges * CLASSES_PER_SECOND).astype(int)
    starts = np.clip(places[:-1], 0, len(heard.classes) - 1)
    ends = np.clip(places[1:], starts + 1, len(heard.classes))
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(heard.classes, axis=0, dtype=np.float64)])
    means = (total[ends] - total[starts]) / (ends - starts)[:, None]
    classes: Floats = means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-9)
    return classes


def changes(classes: Floats, beats: int) -> Floats:
    """How far what sounds from a beat on is from what sounded before it."""
    count = len(classes)
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(classes, axis=0)])
    here = np.arange(1, count)
    before = total[here] - total[np.maximum(0, here - beats)]
    after = total[np.minimum(count, here + beats)] - total[here]
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    like = (before * after).sum(axis=1) / (lengths + 1e-9)
    found = np.zeros(count)
    found[1:] = np.sqrt(np.maximum(0.0, 1.0 - like))
    return found


def way(odds_of_first: Floats, length: int) -> tuple[Integers, float]:
    """The likeliest places in bars of this length, and their gain per beat over chance."""
    odds = odds_of_first - np.log(length - 1)
    first, other = -np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)
    chance = float(np.sum(first / length + other * (length - 1) / length))
    places, score = _decoded(first, other, length)
    return places, (score - chance) / len(odds)


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


def is_compound(heard: Onsets, seconds: Floats) -> bool:
    """Whether beats are of three parts: more begins at their thirds than at their halves."""
    lengths = np.diff(seconds)

    def strength(share: float) -> float:
        found = near(heard.strength, seconds[:-1] + share * lengths, 0.02)
        return float(np.clip(found, -1.0, 4.0).mean())

    thirds = 0.5 * (strength(1.0 / 3.0) + strength(2.0 / 3.0))
    return thirds - strength(0.5) > _COMPOUND_LEAD


def near(values: Floats, seconds: Floats, around_seconds: float = 0.03) -> Floats:
    """The greatest value near each time."""
    half = int(around_seconds * HOPS_PER_SECOND)
    places = np.clip(np.round(seconds * HOPS_PER_SECOND).astype(int), 0, len(values) - 1)
    windows = np.clip(places[:, None] + np.arange(-half, half + 1), 0, len(values) - 1)
    found: Floats = values[windows].max(axis=1)
    return found


def standard(values: Floats) -> Floats:
    found: Floats = (values - values.mean()) / (values.std() + 1e-9)
    return found
