"""What is heard at each beat: rows of numbers by which a network tells bars and pulses."""

import numpy as np
import numpy.typing as npt

from chorale_analysis.onsets import CLASSES_PER_SECOND, HOPS_PER_SECOND, Floats, Onsets

Integers = npt.NDArray[np.int64]

_SPREAD_OF_DRUMS, _SPREAD_OF_MUSIC = 0.2, 0.35  # of pitch classes, over their mean
_WITHIN = (0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.75)  # of a beat: where more begins if it is divided
_WITHIN_SECONDS = 0.02
_LAGS = (1, 2, 3, 4, 6, 8)  # beats after which bars and halves of them return
PARTS = 8  # of a beat, by which it is compared with others
_FARTHEST = 4.0  # deviations
# Clicks of a machine differ by where they fall between two hops; that is no difference to hear.
_LEAST_SPREAD, _LEAST_CHANGE = 0.1, 0.02
_USUAL_BPM = 100.0


def rows(heard: Onsets, seconds: Floats) -> Floats:
    """What is heard at each of these beats, around it and since: `(beats, numbers)`.

    The bass, cymbals, what begins on the beat and within it, how loud it goes on, how far harmony
    changes against beats before, and how alike onsets and notes are to those some beats before.
    """
    classes = classes_between(heard, seconds)
    tonal = tonality(classes)
    lengths = np.append(np.diff(seconds), np.median(np.diff(seconds)))
    strength = np.clip(heard.strength, -1.0, 4.0)
    within = [near(strength, seconds + at * lengths, _WITHIN_SECONDS) for at in _WITHIN]
    halves = seconds + 0.5 * lengths
    on, between = near(heard.raw, seconds), near(heard.raw, halves)
    within_beats = steps(strength, seconds, lengths)
    numbers = [
        standard(near(heard.bass, seconds)),
        standard(near(heard.treble, seconds)),
        standard(near(strength, seconds)),
        standard(on, _LEAST_SPREAD * float(on.mean())),
        standard(near(heard.bass, halves)),
        standard(near(heard.treble, halves)),
        standard(between, _LEAST_SPREAD * float(between.mean())),
        *(0.7 * one - 0.5 for one in within),
        standard(_loudness(heard, seconds)),
        *(tonal * standard(changes(classes, beats), _LEAST_CHANGE) for beats in (1, 2, 3, 4)),
        *_returns(within_beats - within_beats.mean(axis=0), _LEAST_SPREAD),
        *(tonal * one for one in _returns(classes - classes.mean(axis=0), _LEAST_CHANGE)),
        np.full(len(seconds), np.log2(60.0 / np.median(lengths) / _USUAL_BPM)),
        np.full(len(seconds), tonal),
    ]
    found: Floats = np.clip(np.stack(numbers, axis=1), -_FARTHEST, _FARTHEST)
    return found


def _loudness(heard: Onsets, seconds: Floats) -> Floats:
    """How loud notes sound from each beat to the next, as a logarithm."""
    loud = np.log(np.linalg.norm(heard.classes, axis=1) + 1e-3)
    starts, ends = _between(heard, seconds)
    total = np.concatenate([[0.0], np.cumsum(loud)])
    means: Floats = (total[ends] - total[starts]) / (ends - starts)
    return means


def steps(values: Floats, seconds: Floats, lengths: Floats) -> Floats:
    """Values at even steps of every beat: `(beats, PARTS)`."""
    shares = np.arange(PARTS) / PARTS - 0.5 / PARTS
    at = (seconds[:, None] + lengths[:, None] * shares) * HOPS_PER_SECOND
    found: Floats = np.interp(at.ravel(), np.arange(len(values)), values).reshape(at.shape)
    return found


def _returns(patterns: Floats, least: float) -> list[Floats]:
    """How alike every beat is to that so many beats before, in [-2, 2]; 0 where there is none."""
    lengths = np.linalg.norm(patterns, axis=1, keepdims=True)
    even = patterns / (lengths + max(least, 0.1 * float(lengths.mean())))
    found = []
    for lag in _LAGS:
        alike = np.zeros(len(even))
        alike[lag:] = 2.0 * (even[lag:] * even[:-lag]).sum(axis=1)
        found.append(alike)
    return found


def tonality(classes: Floats) -> float:
    """Whether notes sound and no drums or noise alone, in [0, 1], by how classes are spread."""
    spread = float(np.mean(classes.std(axis=1) / (classes.mean(axis=1) + 1e-9)))
    share = (spread - _SPREAD_OF_DRUMS) / (_SPREAD_OF_MUSIC - _SPREAD_OF_DRUMS)
    return float(np.clip(share, 0.0, 1.0))


def classes_between(heard: Onsets, seconds: Floats) -> Floats:
    """The pitch classes from each beat to the next, each of length 1."""
    starts, ends = _between(heard, seconds)
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(heard.classes, axis=0, dtype=np.float64)])
    means = (total[ends] - total[starts]) / (ends - starts)[:, None]
    classes: Floats = means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-9)
    return classes


def _between(heard: Onsets, seconds: Floats) -> tuple[Integers, Integers]:
    """Where each beat starts and ends among the pitch classes."""
    edges = np.append(seconds, seconds[-1] + np.median(np.diff(seconds)))
    places = np.round(edges * CLASSES_PER_SECOND).astype(np.int64)
    starts = np.clip(places[:-1], 0, len(heard.classes) - 1)
    return starts, np.clip(places[1:], starts + 1, len(heard.classes))


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


def near(values: Floats, seconds: Floats, around_seconds: float = 0.03) -> Floats:
    """The greatest value near each time."""
    half = int(around_seconds * HOPS_PER_SECOND)
    places = np.clip(np.round(seconds * HOPS_PER_SECOND).astype(int), 0, len(values) - 1)
    windows = np.clip(places[:, None] + np.arange(-half, half + 1), 0, len(values) - 1)
    found: Floats = values[windows].max(axis=1)
    return found


def standard(values: Floats, least: float = _LEAST_SPREAD) -> Floats:
    """Values in deviations from their mean, that are taken to spread so much at least."""
    found: Floats = (values - values.mean()) / max(float(values.std()), least, 1e-9)
    return found
