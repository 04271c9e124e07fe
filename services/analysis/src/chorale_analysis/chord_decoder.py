"""The likeliest sequence of chords, each of which sounds for a while: a segmental decoder.

A hidden semi-Markov model whose segments are judged by the mean of what sounds in them, so that a
broken chord is heard as one; decoded exactly, over every way to cut the hops.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """What speaks for each chord, by hop."""

    treble: Floats  # (hops, 12): pitch classes that sound
    bass: Floats  # (hops, 12): those that sound low
    silence: Floats  # (hops,): what silence adds to there being no chord
    beginning: Floats  # (hops + 1,): what speaks for a chord to begin before each hop
    expected: Floats  # (hops, chords): what is expected of each chord before it is heard


@dataclass(frozen=True)
class Model:
    """What chords are made of."""

    treble: Floats  # (chords, 12), each of length 1
    bass: Floats  # (chords, 12), weighted
    none: float  # what there being no chord is worth
    duration: Floats  # log likelihood of lasting 1, 2, ... hops


@dataclass(frozen=True)
class Cut:
    """One chord: hops from `first` up to `last`, and the model's chord; -1 is none."""

    first: int
    last: int
    chord: int


def decode(evidence: Evidence, model: Model) -> list[Cut]:
    """Finds the likeliest chords, in order and without gaps."""
    heard = np.concatenate(
        [evidence.treble, evidence.bass, evidence.silence[:, None]], axis=1, dtype=np.float64
    )
    total = np.concatenate([np.zeros((1, heard.shape[1])), np.cumsum(heard, axis=0)])
    begun, chosen = _viterbi(
        total,
        model.treble,
        model.bass,
        evidence.expected,
        evidence.beginning,
        model.duration,
        model.none,
    )
    cuts = []
    last = len(heard)
    while last > 0:
        cuts.append(Cut(int(begun[last]), last, int(chosen[last])))
        last = int(begun[last])
    return cuts[::-1]


def worth(evidence: Evidence, model: Model, cut: Cut) -> Floats:
    """What every chord is worth over these hops, per hop; the last is no chord."""
    hops = slice(cut.first, cut.last)
    treble, bass = evidence.treble[hops].sum(axis=0), evidence.bass[hops].sum(axis=0)
    chords = model.treble @ treble / (np.linalg.norm(treble) + 1e-9)
    chords += model.bass @ bass / (np.linalg.norm(bass) + 1e-9)
    chords += evidence.expected[(cut.first + cut.last) // 2 - (cut.last == cut.first)]
    none = model.none + evidence.silence[hops].mean()
    return np.append(chords, none)


@njit(cache=True)
def _viterbi(  # type: ignore[no-untyped-def]
    total, treble, bass, expected, beginning, duration, none
):
    hop_count = total.shape[0] - 1
    best = np.full(hop_count + 1, -np.inf)
    best[0] = 0.0
    begun = np.zeros(hop_count + 1, np.int64)
    chosen = np.full(hop_count + 1, -1)
    for last in range(1, hop_count + 1):
        end_at(last, total, treble, bass, expected, beginning, duration, none, best, begun, chosen)
    return begun, chosen


@njit(cache=True, nogil=True)
def end_at(  # type: ignore[no-untyped-def]
    last, total, treble, bass, expected, beginning, duration, none, best, begun, chosen
):
    """The likeliest chord that ends before hop `last`, given those of all hops before it."""
    for length in range(1, min(len(duration), last) + 1):
        first = last - length
        heard = total[last] - total[first]
        high, low = heard[:12].copy(), heard[12:24].copy()
        chords = treble @ high / (np.sqrt(np.sum(high * high)) + 1e-9)
        chords += bass @ low / (np.sqrt(np.sum(low * low)) + 1e-9)
        chords += expected[(first + last) // 2]
        chord = int(np.argmax(chords))
        gain = chords[chord] * length
        if none * length + heard[24] > gain:
            chord, gain = -1, none * length + heard[24]
        score = best[first] + duration[length - 1] + beginning[first] + gain
        if score > best[last]:
            best[last], begun[last], chosen[last] = score, first, chord
