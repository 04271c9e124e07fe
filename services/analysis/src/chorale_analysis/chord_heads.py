"""Chords of six answers (triad, bass, seventh, ninth, eleventh, thirteenth), and their sequence.

The hidden Markov model of Jiang et al. (ISMIR 2019, section 3.4): a chord holds until another is so
much likelier that the change pays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from chorale_analysis import harte
from chorale_analysis.chord_dictionaries import ANSWERS, DICTIONARIES
from chorale_analysis.harte import Label
from chorale_analysis.spectra import Array

Integers = npt.NDArray[np.int64]

_CHANGE_COST = 30.0  # nats, as published
_LEAST = 1e-30
_HOPS_AT_ONCE = 1024  # bounds memory


@dataclass(frozen=True)
class Dictionary:
    """Chords that may be told, and what each head answers to each; -1 is any answer."""

    labels: tuple[Label, ...]
    answers: Integers  # (heads, chords)


@cache
def dictionary(name: str) -> Dictionary:
    """One of `DICTIONARIES` over every root, no chord first."""
    labels = [Label(-1, harte.NONE)]
    answers: list[tuple[int, ...]] = [(0, 0, -1, -1, -1, -1)]
    for quality, bass in DICTIONARIES[name]:
        triad, *more = ANSWERS[quality]
        for root in range(12):
            labels.append(harte.named(root, quality, bass))
            answers.append((12 * (triad - 1) + 1 + root, (root + bass) % 12 + 1, *more))
    return Dictionary(tuple(labels), np.array(answers, np.int64).T)


def likelihoods(heads: Sequence[Array], chords: Dictionary) -> Iterator[Array]:
    """The log likelihood of every chord at every hop, `(hops, chords)`, some hops at a time."""
    for first in range(0, len(heads[0]), _HOPS_AT_ONCE):
        told = np.zeros((len(heads[0][first : first + _HOPS_AT_ONCE]), len(chords.labels)))
        for head, answers in zip(heads, chords.answers, strict=True):
            logs = np.log(np.maximum(head[first : first + _HOPS_AT_ONCE], _LEAST))
            told += np.pad(logs, ((0, 0), (0, 1)))[:, answers]  # -1: a column of certainty
        yield told.astype(np.float32)


def decode(heads: Sequence[Array], chords: Dictionary) -> Integers:
    """The likeliest chord of every hop, beginning with none, where each change costs the same."""
    best = np.full(len(chords.labels), -np.inf)
    best[0] = 0.0
    held: list[npt.NDArray[np.uint8]] = []
    leaders: list[int] = []
    for block in likelihoods(heads, chords):
        for likely in block:
            leader = int(np.argmax(best))
            change = best[leader] - _CHANGE_COST if held else -np.inf
            held.append(np.packbits(best > change))
            leaders.append(leader)
            best = np.maximum(best, change) + likely
    states = np.zeros(len(held), np.int64)
    state = int(np.argmax(best)) if held else 0
    for hop in range(len(held) - 1, -1, -1):
        states[hop] = state
        if not held[hop][state >> 3] >> (7 - (state & 7)) & 1:
            state = leaders[hop]
    return states


def chances(heads: Sequence[Array], chords: Dictionary, edges: Sequence[int]) -> Array:
    """The mean chance of every chord of the dictionary between these hops, stretch by stretch."""
    totals = np.zeros((len(edges) - 1, len(chords.labels)), np.float32)
    which = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    first = 0
    for block in likelihoods(heads, chords):
        likely = np.exp(block - block.max(axis=1, keepdims=True), dtype=np.float32)
        shares = likely / likely.sum(axis=1, keepdims=True)
        np.add.at(totals, which[first : first + len(block)], shares)
        first += len(block)
    hops = np.diff(np.array(edges)).astype(np.float32)
    means: Array = totals / hops[:, None]
    return means
