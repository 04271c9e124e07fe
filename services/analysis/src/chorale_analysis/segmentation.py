"""Sections: where they begin, which repeat each other, and what they are."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from chorale_analysis import structure
from chorale_analysis.novelty import Floats, Moments, contrast, moments, salience
from chorale_analysis.pitches import Pitches
from chorale_analysis.rhythm import Rhythm
from chorale_analysis.structure import Form, Section, StructureSettings

# Sections last about as long as the square root of the whole: 14 of 16 s in a song of 200 s.
_USUAL, _SHORTEST_USUAL, _LONGEST_USUAL, _SPREAD = 1.2, 5.0, 18.0, 0.6
_BEGINNING_COST = 0.8  # deviations of salience that a section must be worth
_EIGHT_BEATS, _SIXTEEN_BEATS, _NEARLY = 1.0, 0.5, 0.3  # sections are of whole phrases
_EDGE_COST = 1.5  # at most, of a first or last section of unusual length

_LEAST_CONTRAST = 0.12  # noise .02, drums .05, music from .2 up
_ALIKE = 0.5  # of the distance that any two moments have: sections nearer repeat each other
_SILENCE_DB = -60.0

# How often a boundary is within 3 s of an annotated one, by its salience.
_SALIENCE_SLOPE, _SALIENCE_ODDS = 0.35, 0.1


def segment(
    pitches: Pitches, rhythm: Rhythm, duration_seconds: float, settings: StructureSettings
) -> Form:
    """Cuts music into sections; one alone where nothing changes, as in noise."""
    heard = moments(pitches, rhythm, duration_seconds)
    if len(heard.classes) < 8 or contrast(heard) < _LEAST_CONTRAST:
        whole = structure.SILENCE if _is_silent(heard.level, heard.level) else structure.UNKNOWN
        return Form((Section(0.0, duration_seconds, whole, 0.0, 1, 1.0),))
    seems = salience(heard)
    starts = _starts(heard, seems, settings)
    while settings.section_limit and len(starts) > settings.section_limit:
        starts.remove(min(starts[1:], key=lambda place: seems[place]))
    edges = [*starts, len(heard.classes)]
    groups = _groups(heard, edges)
    labels = _labels(heard, edges, groups)
    times = heard.edges[edges]
    if settings.on_downbeats and rhythm.meters:
        times = _on_downbeats(times, rhythm)
    sections = [
        Section(float(start), float(end), label, sure, group, _sure(seems, place))
        for (start, end), place, (label, sure), group in zip(
            pairwise(times), starts, labels, groups, strict=True
        )
        if end > start
    ]
    return Form(tuple(sections))


def _starts(heard: Moments, seems: Floats, settings: StructureSettings) -> list[int]:
    """The moments where sections begin: exact dynamic programming over every way to cut."""
    count = len(seems)
    edges = heard.edges
    usual = float(np.clip(_USUAL * np.sqrt(edges[-1]), _SHORTEST_USUAL, _LONGEST_USUAL))
    best, came = np.full(count + 1, -np.inf), np.zeros(count + 1, np.int64)
    best[0] = 0.0
    for last in range(1, count + 1):
        firsts = np.arange(last)
        seconds = edges[last] - edges[:last]
        worth = -0.5 * (np.log(np.maximum(seconds, 1e-3) / usual) / _SPREAD) ** 2
        if heard.on_beats:
            worth += _phrases(last - firsts)
        at_edge = (firsts == 0) | (last == count)
        worth = np.where(at_edge, np.maximum(worth, -_EDGE_COST), worth)
        inner = (firsts > 0) | (last < count)
        worth = np.where((seconds < settings.minimum_seconds) & inner, -np.inf, worth)
        score = best[:last] + worth
        came[last] = int(np.argmax(score))
        gain = float(seems[last]) if last < count else 0.0
        best[last] = score[came[last]] + gain - _BEGINNING_COST
    starts, last = [], count
    while last > 0:
        last = int(came[last])
        starts.append(last)
    return starts[::-1] if np.isfinite(best[count]) else [0]


def _phrases(beats: npt.NDArray[np.int64]) -> Floats:
    """What it is worth to be eight or sixteen beats long, or many times that, give or take one."""
    off_eight = np.abs(beats - 8 * np.round(beats / 8))
    off_sixteen = np.abs(beats - 16 * np.round(beats / 16))
    worth = _EIGHT_BEATS * np.where(off_eight < 1, 1.0, np.where(off_eight < 2, _NEARLY, 0.0))
    phrases: Floats = worth + _SIXTEEN_BEATS * (off_sixteen < 1)
    return phrases


def _groups(heard: Moments, edges: list[int]) -> list[int]:
    """Numbers of sections, the same for those that go the same way; counted from 1."""
    ways = [heard.classes[first:last] for first, last in pairwise(edges)]
    usual = 2.0 - 2.0 * float(np.mean(heard.classes @ heard.classes.mean(axis=0)))
    numbers: list[int] = []
    for here, way in enumerate(ways):
        unlike = [_apart(way, other) / (usual + 1e-9) for other in ways[:here]]
        near = int(np.argmin(unlike)) if unlike else -1
        is_new = near < 0 or unlike[near] > _ALIKE
        numbers.append(max(numbers, default=0) + 1 if is_new else numbers[near])
    return numbers


def _apart(one: Floats, other: Floats) -> float:
    """How far apart two ways are, beat by beat, at the best of small shifts."""
    short, long = sorted((one, other), key=len)
    if len(short) < 4 or len(short) < 0.4 * len(long):
        return np.inf
    shifts = range(min(9, len(long) - len(short) + 1))
    return min(
        float(np.mean(np.sum((short - long[at : at + len(short)]) ** 2, axis=1))) for at in shifts
    )


def _labels(heard: Moments, edges: list[int], groups: list[int]) -> list[tuple[str, float]]:
    """What sections are, by how often they return, how loud they are and where they stand."""
    levels = [heard.level[first:last] for first, last in pairwise(edges)]
    loud = np.array([float(level.mean()) for level in levels])
    seconds = np.diff(heard.edges[edges])
    returning = {g for g in groups if groups.count(g) > 1}
    loudness = {g: np.mean([loud[n] for n in range(len(loud)) if groups[n] == g]) for g in groups}
    time = {g: sum(seconds[n] for n in range(len(loud)) if groups[n] == g) for g in groups}
    chorus = max(returning, key=lambda g: loudness[g], default=0)
    verses = sorted(returning - {chorus}, key=lambda g: -time[g])
    verse = verses[0] if verses else 0
    found: list[tuple[str, float]] = []
    for place, group in enumerate(groups):
        if _is_silent(levels[place], heard.level):
            found.append((structure.SILENCE, 0.9))
        elif group == chorus:
            found.append((structure.CHORUS, 0.5))
        elif group == verse:
            found.append((structure.VERSE, 0.5))
        elif group in returning:
            before_chorus = place + 1 < len(groups) and groups[place + 1] == chorus
            found.append((structure.PRECHORUS if before_chorus else structure.VERSE, 0.3))
        else:
            found.append(_alone(place, len(groups), chorus in groups[place + 1 :]))
    return found


def _alone(place: int, count: int, chorus_follows: bool) -> tuple[str, float]:
    """What a section is that never returns."""
    if count == 1:
        return structure.UNKNOWN, 0.0
    if place == 0:
        return structure.INTRO, 0.6
    if place == count - 1:
        return structure.OUTRO, 0.6
    late = place > count / 2
    return (structure.BRIDGE, 0.4) if late and chorus_follows else (structure.INSTRUMENTAL, 0.3)


def _is_silent(level: Floats, of_all: Floats) -> bool:
    loud = float(np.percentile(of_all, 95)) + 1e-20
    return bool(10.0 * np.log10(float(level.mean()) / loud + 1e-20) < _SILENCE_DB)


def _sure(seems: Floats, place: int) -> float:
    if place == 0:
        return 1.0  # the beginning of all is one
    odds = _SALIENCE_SLOPE * float(seems[place]) + _SALIENCE_ODDS
    return float(1.0 / (1.0 + np.exp(-odds)))


def _on_downbeats(times: Floats, rhythm: Rhythm) -> Floats:
    """Inner edges at the nearest downbeat."""
    downbeats = np.array([beat.seconds for beat in rhythm.beats if beat.position == 1])
    if not len(downbeats):
        return times
    moved = times.copy()
    for place in range(1, len(times) - 1):
        moved[place] = downbeats[int(np.argmin(np.abs(downbeats - times[place])))]
    return moved
