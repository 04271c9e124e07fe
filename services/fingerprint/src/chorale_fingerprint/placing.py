"""Where in a recording a query lies, how fast and how high, and how surely.

Landmarks that agree vote for a recording, a pitch and a shift. Of what got the most votes, every
peak of the query is then looked for where it ought to be: a line through pairs of peaks gives the
speed, and the share of peaks that are found there the score.

Conventions: times and pitches are those of `peaks`. A time `t` of the query lies at
`place.start + place.ratio * t` of the recording, its pitch `p` at `p + place.pitch`.

The score is `(found - chance) / (1 - chance)`: the share of the query's peaks that are found,
over the share that would be found at places that mean nothing. 1 for a copy, about 0 for other
music; noise of 5 dB leaves about 0.6.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chorale_fingerprint.landmarks import AT_PITCHES_PER_SEMITONE
from chorale_fingerprint.peaks import (
    PITCHES_PER_SEMITONE,
    TIMES_PER_HOP,
    TIMES_PER_SECOND,
    Integers,
    Peaks,
)

Floats = npt.NDArray[np.float64]
# Start, ratio and pitch: what lays a query on a recording.
Line: TypeAlias = tuple[float, float, float]

# Recordings and shifts that are looked at peak by peak, and the votes that takes.
CANDIDATES_MAX, VOTES_MIN = 24, 2
# Nor is what gets less than such a share of the most votes.
_VOTES_SHARE = 8
# Votes are counted in steps of so much time and pitch; half a step over, a second time.
_VOTE_TIMES, _VOTE_PITCHES = 32 * TIMES_PER_HOP, 2
# Further than this, in quarters of a semitone, no query is transposed.
_TRANSPOSED_MAX = 4 * AT_PITCHES_PER_SEMITONE
# Speeds that are thought of.
_RATIOS = np.arange(0.90, 1.1101, 0.004)
# How near a peak must be to count as found, at first and at last.
_NEAR_TIMES = (4.0 * TIMES_PER_HOP, 3.0 * TIMES_PER_HOP, 2.5 * TIMES_PER_HOP)
_NEAR_PITCHES = (
    0.7 * PITCHES_PER_SEMITONE,
    0.5 * PITCHES_PER_SEMITONE,
    0.35 * PITCHES_PER_SEMITONE,
)
# A line is drawn through this much sound first, and through twice as much each time after.
_SEED_TIMES = 8 * TIMES_PER_SECOND
# Shifts that mean nothing, in hops: chance is what is found there.
_CHANCE_HOPS = (-331, -197, -137, -61, -23, 29, 67, 139, 211, 337)
# Which share of found peaks still counts as agreement when a match is delimited.
_AGREEMENT = 0.3
# More evidence than this is beyond chance among any number of recordings.
_PROVEN = 100.0
# Fewer peaks than these, found or looked for, prove nothing.
PEAKS_MIN, FOUND_MIN = 40, 12


@dataclass(frozen=True)
class Hits:
    """Landmarks that a query and recordings share: of each, both places."""

    recordings: npt.NDArray[np.int64]
    times: Integers
    pitches: Integers
    query_times: Integers
    query_pitches: Integers


@dataclass(frozen=True)
class Candidate:
    """A recording that many landmarks point at, and those of them that agree."""

    recording: int
    pitch: float
    times: Integers
    query_times: Integers


@dataclass(frozen=True)
class Place:
    """Where a query lies in a recording, and how well it fits."""

    start: float
    ratio: float
    pitch: float
    query_start: float
    query_end: float
    peak_count: int
    score: float
    evidence: float
    coverage: float
    """The share of the compared seconds of the query that agree, in [0, 1]."""


def candidates(hits: Hits) -> list[Candidate]:
    """The recordings, pitches and shifts with the most votes, most votes first."""
    pitch = hits.pitches - hits.query_pitches
    shift = hits.times - hits.query_times
    likely = np.abs(pitch) <= _TRANSPOSED_MAX
    found: list[Candidate] = []
    for over in (0, _VOTE_TIMES // 2):
        steps = np.stack(
            [
                hits.recordings,
                (pitch + _TRANSPOSED_MAX + 1) // _VOTE_PITCHES,
                (shift + over) // _VOTE_TIMES,
            ]
        )[:, likely]
        found += _voted(hits, steps, np.flatnonzero(likely))
    found.sort(key=lambda each: -len(each.times))
    return _spread(found)


def _voted(
    hits: Hits, steps: npt.NDArray[np.int64], members: npt.NDArray[np.intp]
) -> list[Candidate]:
    """The likeliest of one counting."""
    if not steps.size:
        return []
    low = steps.min(axis=1, keepdims=True)
    sizes = (steps - low).max(axis=1) + 1
    keys = ((steps[0] - low[0]) * sizes[1] + steps[1] - low[1]) * sizes[2] + steps[2] - low[2]
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order], prepend=-1))
    counts = np.diff(edges, append=len(order))
    best = np.argsort(-counts, kind="stable")[:CANDIDATES_MAX]
    groups = [
        members[order[edges[i] : edges[i] + counts[i]]] for i in best if counts[i] >= VOTES_MIN
    ]
    return [_candidate(hits, group) for group in groups]


def _candidate(hits: Hits, group: npt.NDArray[np.intp]) -> Candidate:
    quarters = float(np.median(hits.pitches[group] - hits.query_pitches[group]))
    return Candidate(
        int(hits.recordings[group[0]]),
        quarters * PITCHES_PER_SEMITONE / AT_PITCHES_PER_SEMITONE,
        hits.times[group],
        hits.query_times[group],
    )


def _spread(found: Sequence[Candidate]) -> list[Candidate]:
    """Keeps a few of each recording, so that one that repeats itself leaves room for others."""
    kept: list[Candidate] = []
    least = len(found[0].times) // _VOTES_SHARE if found else 0
    for each in found:
        if len(each.times) < least:
            break
        if sum(other.recording == each.recording for other in kept) < 4:
            kept.append(each)
        if len(kept) == CANDIDATES_MAX:
            break
    return kept


def places(
    query: Peaks, references: Mapping[int, Peaks], voted: Sequence[Candidate]
) -> dict[int, Place]:
    """Lays the query on every recording that was voted for; the best place in each."""
    found: dict[int, Place] = {}
    for candidate in voted:
        best = found.get(candidate.recording)
        if best is not None and best.evidence > _PROVEN and _lies_on(best, candidate):
            continue
        placed = place(query, references[candidate.recording], candidate)
        if placed is not None and (best is None or placed.evidence > best.evidence):
            found[candidate.recording] = placed
    return found


def _lies_on(placed: Place, candidate: Candidate) -> bool:
    """Whether votes point where the query was laid already."""
    away = candidate.times - placed.start - placed.ratio * candidate.query_times
    return bool(np.median(np.abs(away)) < _NEAR_TIMES[0])


def place(query: Peaks, reference: Peaks, candidate: Candidate) -> Place | None:
    """Lays the query on the recording where the votes say; None where it does not fit."""
    if len(query) < PEAKS_MIN:
        return None
    ratio, start = _line_of_votes(candidate)
    pitch = candidate.pitch
    centre, reach = float(np.median(candidate.query_times)), _SEED_TIMES / 2
    length = float(query.times[-1] - query.times[0])
    near = 0
    while True:
        part = query.between(centre - reach, centre + reach)
        drawn = _redrawn(part, reference, (start, ratio, pitch), near)
        if drawn is None:
            return None
        start, ratio, pitch = drawn
        if reach > length and near == len(_NEAR_TIMES) - 1:
            break
        reach, near = reach * 2, min(near + 1, len(_NEAR_TIMES) - 1)
    return _judged(query, reference, (start, ratio, pitch))


def _line_of_votes(candidate: Candidate) -> tuple[float, float]:
    """The speed and start that most votes agree on."""
    starts = candidate.times[None, :] - _RATIOS[:, None] * candidate.query_times
    starts.sort(axis=1)
    # All rows one after the other, each far beyond the last, so that one look counts in all.
    far = 2.0 * float(np.ptp(starts)) + 100.0 * TIMES_PER_HOP
    row = (starts - starts.min() + far * np.arange(len(_RATIOS))[:, None]).ravel()
    last = np.searchsorted(row, row + 3 * TIMES_PER_HOP, side="right")
    counts = (last - np.arange(len(row))).reshape(starts.shape)
    at = counts.argmax(axis=1)
    most = counts[np.arange(len(_RATIOS)), at]
    best = int(np.lexsort((np.abs(_RATIOS - 1.0), -most))[0])
    agreeing = starts[best, at[best] : at[best] + most[best]]
    return float(_RATIOS[best]), float(agreeing.mean())


def _nearest(query: Peaks, reference: Peaks, line: Line, near: int) -> Integers:
    """The peak of the reference that each of the query falls upon, or -1."""
    start, ratio, pitch = line
    return _nearest_to(start + ratio * query.times, query.pitches + pitch, reference, near)


def _nearest_to(
    times: npt.NDArray[Any], pitches: npt.NDArray[Any], reference: Peaks, near: int
) -> Integers:
    """The same, of peaks that lie on the reference already."""
    first = np.searchsorted(reference.times, times - _NEAR_TIMES[near])
    last = np.searchsorted(reference.times, times + _NEAR_TIMES[near], side="right")
    width = int((last - first).max(initial=0))
    if not width:
        return np.full(len(times), -1, np.int32)
    nearby = first[:, None] + np.arange(width)
    is_there = nearby < last[:, None]
    nearby = np.minimum(nearby, len(reference) - 1)
    away = np.abs(reference.pitches[nearby] - pitches[:, None])
    is_there &= away <= _NEAR_PITCHES[near]
    off = away / _NEAR_PITCHES[near]
    off += np.abs(reference.times[nearby] - times[:, None]) / _NEAR_TIMES[near]
    best = np.argmin(np.where(is_there, off, np.inf), axis=1)[:, None]
    found = np.take_along_axis(nearby, best, 1)[:, 0]
    found[~np.take_along_axis(is_there, best, 1)[:, 0]] = -1
    return found.astype(np.int32)


def _redrawn(query: Peaks, reference: Peaks, line: Line, near: int) -> Line | None:
    """The line through the peaks that agree with a line."""
    found = _nearest(query, reference, line, near)
    is_found = found >= 0
    if int(is_found.sum()) < FOUND_MIN:
        return None
    ours, theirs = query.times[is_found].astype(float), reference.times[found[is_found]]
    middle = ours.mean()
    spread = float(((ours - middle) ** 2).sum())
    ratio = float(((ours - middle) * (theirs - theirs.mean())).sum()) / spread if spread else 1.0
    if abs(ratio - line[1]) > 0.02:
        ratio = line[1]
    start = float(theirs.mean()) - ratio * float(middle)
    pitch = float(np.median(reference.pitches[found[is_found]] - query.pitches[is_found]))
    return start, ratio, pitch


def _judged(query: Peaks, reference: Peaks, line: Line) -> Place | None:
    start, ratio, pitch = line
    last = len(_NEAR_TIMES) - 1
    overlap = query.between(
        (reference.times[0] - start) / ratio - 1, (reference.times[-1] - start) / ratio + 1
    )
    if len(overlap) < PEAKS_MIN:
        return None
    is_found = _nearest(overlap, reference, line, last) >= 0
    chance = _chance(overlap, reference, line)
    first, end = _best_run(is_found - np.maximum(_AGREEMENT, 1.5 * chance))
    count, found = end - first, int(is_found[first:end].sum())
    if count < PEAKS_MIN or found < FOUND_MIN:
        return None
    share = found / count
    times = overlap.times[first:end]
    # What is found by chance is found more often where the music stays on few pitches.
    run = overlap.between(times[0], times[-1] + 1)
    chance = max(chance, _chance(run, reference, line))
    return Place(
        start=start,
        ratio=ratio,
        pitch=pitch,
        query_start=float(times[0]),
        query_end=float(times[-1]),
        peak_count=count,
        score=max(0.0, (share - chance) / (1.0 - chance)),
        evidence=count * _divergence(share, chance),
        coverage=_coverage(query, times[is_found[first:end]], chance),
    )


def _chance(query: Peaks, reference: Peaks, line: Line) -> float:
    """The share of peaks that are found at places that mean nothing."""
    start, ratio, pitch = line
    shifts = start + np.array(_CHANCE_HOPS)[:, None] * TIMES_PER_HOP
    times = shifts + ratio * query.times
    pitches = np.broadcast_to(query.pitches + pitch, times.shape)
    within = (times >= reference.times[0]) & (times < reference.times[-1])
    nearest = _nearest_to(times[within], pitches[within], reference, len(_NEAR_TIMES) - 1)
    found, looked_for = int((nearest >= 0).sum()), len(nearest)
    # As if ten more had been looked for, and one found: of little music little is known.
    return min(0.9, (found + 1) / (looked_for + 10))


def _coverage(query: Peaks, found_times: Integers, chance: float) -> float:
    """The share of the seconds that hold peaks in which more are found than by chance."""
    second = round(TIMES_PER_SECOND * 2)
    all_of_them = np.bincount(query.times // second)
    found = np.bincount(found_times // second, minlength=len(all_of_them))
    held = all_of_them >= 4
    agree = held & (found >= 2.0 * chance * all_of_them) & (found >= 2)
    return float(agree.sum() / held.sum()) if held.any() else 0.0


def _divergence(share: float, chance: float) -> float:
    """How unlikely, in nepers a peak, it is that a share is found where another is expected."""
    if share <= chance:
        return 0.0
    rest = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return share * math.log(share / chance) + rest


def _best_run(gains: Floats) -> tuple[int, int]:
    """Finds the run with the greatest sum, `[first, last)` (J. Bentley, 1984, algorithm 4)."""
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(sums)
    last = int(np.argmax(sums - lowest))
    return int(np.argmin(sums[: last + 1])), last
