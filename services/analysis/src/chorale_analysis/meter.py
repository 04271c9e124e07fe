"""Bars: which beats they begin on, and how long they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_analysis.onsets import CLASSES_PER_SECOND, HOPS_PER_SECOND, Floats, Onsets
from chorale_analysis.rhythm import Meter

Integers = npt.NDArray[np.int64]

_USUAL_BARS = (2, 3, 4)
_LEAST_BEATS = 8  # fewer say nothing of bars
# What makes a beat the first of its bar: drums and bass below 150 Hz, chords that change against
# one and two beats before, and loudness. Chosen on the annotated material, where with annotated
# beats the downbeats have F .72.
_DEEP, _CHANGE, _CHANGE_OF_TWO, _STRENGTH = 0.6, 0.5, 0.35, 0.3
_JUMP = -6.0  # nats: a beat too many or too few in a bar
# What is commoner, in nats per beat: plain beats in fours, dotted ones in twos.
_PLAIN = {2: -0.1, 3: 0.0, 4: 0.0}
_DOTTED = {2: 0.2, 3: 0.0, 4: 0.1}
_RARE = -0.05  # any other
_COMPOUND_LEAD = 0.3  # deviations by which thirds of a beat are stronger than its half
_SPREAD_OF_DRUMS, _SPREAD_OF_MUSIC = 0.2, 0.35  # of pitch classes, over their mean
_SURE_SLOPE = 0.15  # of chances of meters: what a lead of so many nats per beat multiplies by e


@dataclass(frozen=True)
class Bars:
    """The place of every beat in its bar, counted from 1, and the meters thought of."""

    positions: tuple[int, ...]
    meters: tuple[Meter, ...]


def find_bars(heard: Onsets, seconds: Floats, lengths: tuple[int, ...]) -> Bars:
    """The likeliest bars over these beats; none over too few."""
    if len(seconds) < _LEAST_BEATS:
        return Bars((0,) * len(seconds), ())
    firstness = _firstness(heard, seconds)
    dotted = _is_compound(heard, seconds)
    usual = _DOTTED if dotted else _PLAIN
    ways = {length: _way(firstness, length) for length in lengths or _USUAL_BARS}
    scores = {length: gain + usual.get(length, _RARE) for length, (_, gain) in ways.items()}
    weights = {length: np.exp(score / _SURE_SLOPE) for length, score in scores.items()}
    total = sum(weights.values())
    order = sorted(ways, key=lambda length: -scores[length])
    meters = tuple(
        Meter(
            length,
            float(weights[length] / total),
            tuple(seconds[ways[length][0] == 0].tolist()),
            dotted,
        )
        for length in order
    )
    return Bars(tuple((ways[order[0]][0] + 1).tolist()), meters)


def _firstness(heard: Onsets, seconds: Floats) -> Floats:
    """How much each beat is like the first of a bar, in deviations."""
    classes = _classes(heard, seconds)
    spread = float(np.mean(classes.std(axis=1) / (classes.mean(axis=1) + 1e-9)))
    tonal = np.clip((spread - _SPREAD_OF_DRUMS) / (_SPREAD_OF_MUSIC - _SPREAD_OF_DRUMS), 0.0, 1.0)
    firstness: Floats = (
        _DEEP * _standard(np.log(_near(heard.deep, seconds) + 1e-2))
        + _CHANGE * tonal * _standard(_changes(classes, 1))
        + _CHANGE_OF_TWO * tonal * _standard(_changes(classes, 2))
        + _STRENGTH * _standard(_near(heard.strength, seconds))
    )
    return firstness


def _classes(heard: Onsets, seconds: Floats) -> Floats:
    """The pitch classes from each beat to the next, each of length 1."""
    edges = np.append(seconds, seconds[-1] + np.median(np.diff(seconds)))
    places = np.round(edges * CLASSES_PER_SECOND).astype(int)
    starts = np.clip(places[:-1], 0, len(heard.classes) - 1)
    ends = np.clip(places[1:], starts + 1, len(heard.classes))
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(heard.classes, axis=0, dtype=np.float64)])
    means = (total[ends] - total[starts]) / (ends - starts)[:, None]
    classes: Floats = means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-9)
    return classes


def _changes(classes: Floats, beats: int) -> Floats:
    """How far what sounds from a beat on is from what sounded before it."""
    changes = np.zeros(len(classes))
    for beat in range(1, len(classes)):
        before = classes[max(0, beat - beats) : beat].mean(axis=0)
        after = classes[beat : beat + beats].mean(axis=0)
        like = before @ after / (np.linalg.norm(before) * np.linalg.norm(after) + 1e-9)
        changes[beat] = np.sqrt(max(0.0, 1.0 - like))
    return changes


def _way(firstness: Floats, length: int) -> tuple[Integers, float]:
    """The likeliest places in bars of this length, and their gain per beat over chance."""
    odds = firstness - np.log(length - 1)
    first, other = -np.logaddexp(0.0, -odds), -np.logaddexp(0.0, odds)
    chance = float(np.sum(first / length + other * (length - 1) / length))
    score = np.full(length, other[0])
    score[0] = first[0]
    came = np.zeros((len(odds), length), np.int64)
    before = (np.arange(length) - 1) % length
    for beat in range(1, len(odds)):
        best = int(np.argmax(score))
        goes_on = score[before] >= score[best] + _JUMP
        came[beat] = np.where(goes_on, before, best)
        score = np.where(goes_on, score[before], score[best] + _JUMP) + other[beat]
        score[0] += first[beat] - other[beat]
    places = np.zeros(len(odds), np.int64)
    places[-1] = int(np.argmax(score))
    for beat in range(len(odds) - 1, 0, -1):
        places[beat - 1] = came[beat, places[beat]]
    return places, (float(score.max()) - chance) / len(odds)


def _is_compound(heard: Onsets, seconds: Floats) -> bool:
    """Whether beats are of three parts: more begins at their thirds than at their halves."""
    lengths = np.diff(seconds)

    def strength(share: float) -> float:
        near = _near(heard.strength, seconds[:-1] + share * lengths, 0.02)
        return float(np.clip(near, -1.0, 4.0).mean())

    thirds = 0.5 * (strength(1.0 / 3.0) + strength(2.0 / 3.0))
    return thirds - strength(0.5) > _COMPOUND_LEAD


def _near(values: Floats, seconds: Floats, around_seconds: float = 0.04) -> Floats:
    """The greatest value near each time."""
    half = int(around_seconds * HOPS_PER_SECOND)
    places = np.clip(np.round(seconds * HOPS_PER_SECOND).astype(int), 0, len(values) - 1)
    windows = np.clip(places[:, None] + np.arange(-half, half + 1), 0, len(values) - 1)
    near: Floats = values[windows].max(axis=1)
    return near


def _standard(values: Floats) -> Floats:
    standard: Floats = (values - values.mean()) / (values.std() + 1e-9)
    return standard
