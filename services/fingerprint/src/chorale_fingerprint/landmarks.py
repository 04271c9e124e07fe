"""What an index of excerpts keeps: figures of four peaks, named by what no speed or pitch changes.

A figure is a peak and the one that stands out most in each of three windows after it. Its number
says the three intervals in half semitones, the two inner times as shares of the whole, and the
region of its first pitch. R. Sonnleitner, G. Widmer, "Robust Quad-Based Audio Fingerprinting"
(IEEE/ACM TASLP 2016), for figures of four and for numbers that a change of scale leaves alone.

All is counted in whole numbers, so that one set of peaks gives one set of landmarks everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_fingerprint.peaks import PITCHES_PER_SEMITONE, TIMES_PER_HOP, Integers, Peaks

# Where the other three peaks are looked for, in hops of 23 ms after the first.
_WINDOWS_HOPS = ((5, 24), (24, 43), (43, 66))
# No interval is wider than an octave.
_INTERVAL_MAX = 12 * PITCHES_PER_SEMITONE
_HALF_SEMITONE = PITCHES_PER_SEMITONE // 2
_INTERVALS = 2 * (_INTERVAL_MAX // _HALF_SEMITONE) + 1
# Inner times are told in sixteenths of the whole; first pitches in steps of three semitones.
_SHARES, _REGION = 16, 3 * PITCHES_PER_SEMITONE
_REGIONS = 20
# A query looks next door too where it is so near that noise, or a semitone, would have moved it.
_SHARE_MARGIN, _REGION_MARGIN = 0.2, 0.4
AT_PITCHES_PER_SEMITONE = 4
_AT_PITCH_BITS = 8
# Numbers have 30 bits, so that so many are left for the peaks of one recording: 240 days of it.
_PEAK_BITS = 32

Hashes = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Landmarks:
    """Numbers of figures, and where each begins: its time, and its pitch in quarter semitones."""

    hashes: Hashes
    times: Integers
    pitches: Integers

    def __len__(self) -> int:
        return len(self.hashes)


def landmarks(peaks: Peaks) -> Landmarks:
    """Lists what is kept of a recording, in order of its numbers."""
    figures = _figures(peaks, choices=1)
    shape = _shape(peaks, figures)
    hashes = _numbered(shape.intervals, *(whole for whole, _ in shape.places))
    return _landmarks(peaks, hashes, figures[0])


# What a query looks up, from little to much: what a recording keeps, what is next door too, and
# figures of the two peaks of each window that stand out most.
EFFORTS = (0, 1, 2)


def probes(peaks: Peaks, effort: int) -> Landmarks:
    """Lists what to look up for a query, the more the greater the effort."""
    if effort == 0:
        return landmarks(peaks)
    figures = _figures(peaks, choices=effort)
    shape = _shape(peaks, figures)
    margins = (_SHARE_MARGIN, _SHARE_MARGIN, _REGION_MARGIN)
    near = [_nearest(*place, margin) for place, margin in zip(shape.places, margins, strict=True)]
    hashes = [
        _numbered(shape.intervals, first, second, region)
        for first in near[0]
        for second in near[1]
        for region in near[2]
    ]
    return _landmarks(peaks, np.concatenate(hashes), np.tile(figures[0], len(hashes)))


# Of a short query so many are looked up first: a copy that little was done to is known by them.
FEW = 64


def looks(peaks: Peaks, few_seconds: float) -> Iterator[Landmarks]:
    """What to look up one after the other, while nothing sure is found."""
    for effort in EFFORTS:
        found = probes(peaks, effort)
        if effort == 0 and len(found) > FEW and peaks.seconds <= few_seconds:
            yield thinned(found, FEW)
        yield found


def thinned(found: Landmarks, count: int) -> Landmarks:
    """So many of them, spread over the sound."""
    by_time = np.argsort(found.times, kind="stable")
    chosen = by_time[np.linspace(0, len(found) - 1, count).astype(np.intp)]
    return Landmarks(found.hashes[chosen], found.times[chosen], found.pitches[chosen])


def packed_places(found: Landmarks) -> npt.NDArray[np.uint32]:
    """Where figures begin, each as one number: its time, and its pitch in the lowest byte."""
    packed = (found.times << _AT_PITCH_BITS) | np.clip(found.pitches, 0, 255)
    return packed.astype(np.uint32)


def unpacked_places(places: npt.NDArray[np.uint32]) -> tuple[Integers, Integers]:
    """The times and pitches that `packed_places` wrote."""
    times = (places >> _AT_PITCH_BITS).astype(np.int32)
    return times, (places & ((1 << _AT_PITCH_BITS) - 1)).astype(np.int32)


@dataclass(frozen=True)
class _Shape:
    """What of figures is told: intervals in half semitones, and places, whole and in all."""

    intervals: list[npt.NDArray[np.int64]]
    places: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]


def _figures(peaks: Peaks, choices: int) -> list[npt.NDArray[np.intp]]:
    """Four peaks each: every first one with each choice of the others."""
    later = [_most_prominent(peaks, *window, choices) for window in _WINDOWS_HOPS]
    grid = np.indices((len(peaks), choices, choices, choices)).reshape(4, -1)
    chosen = [window[grid[0], choice] for window, choice in zip(later, grid[1:], strict=True)]
    whole = np.logical_and.reduce([each >= 0 for each in chosen])
    return [grid[0][whole], *(each[whole] for each in chosen)]


def _most_prominent(peaks: Peaks, start: int, end: int, count: int) -> npt.NDArray[np.intp]:
    """The peaks that stand out most, from `start` to `end` hops after each; -1 for none."""
    times, pitches = peaks.times, peaks.pitches
    first = np.searchsorted(times, times + start * TIMES_PER_HOP)
    last = np.searchsorted(times, times + end * TIMES_PER_HOP)
    width = int((last - first).max(initial=0))
    if not width:
        return np.full((len(peaks), count), -1, np.intp)
    nearby = first[:, None] + np.arange(width)
    is_there = nearby < last[:, None]
    nearby = np.minimum(nearby, len(peaks) - 1)
    is_there &= np.abs(pitches[nearby] - pitches[:, None]) <= _INTERVAL_MAX
    strengths = np.where(is_there, peaks.strengths[nearby], -1)
    order = np.argsort(-strengths, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(nearby, order, 1)
    found[np.take_along_axis(strengths, order, 1) < 0] = -1
    missing = ((0, 0), (0, count - found.shape[1]))
    return np.pad(found, missing, constant_values=-1).astype(np.intp)


def _shape(peaks: Peaks, figures: list[npt.NDArray[np.intp]]) -> _Shape:
    times, pitches = (each.astype(np.int64) for each in (peaks.times, peaks.pitches))
    first, second, third, fourth = figures
    intervals = [
        (pitches[other] - pitches[first] + _HALF_SEMITONE // 2) // _HALF_SEMITONE + _INTERVALS // 2
        for other in (second, third, fourth)
    ]
    whole = times[fourth] - times[first]
    inner = [((times[other] - times[first]) * _SHARES, whole) for other in (second, third)]
    region = (pitches[first], np.full(len(first), _REGION, np.int64))
    return _Shape(intervals, [(above // below, above / below) for above, below in (*inner, region)])


def _nearest(
    whole: npt.NDArray[np.int64], exact: npt.NDArray[np.float64], margin: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The place itself, and the one next door where that is near; else itself again."""
    above = exact - whole
    return whole, whole + np.where(above < margin, -1, np.where(above > 1 - margin, 1, 0))


def _numbered(
    intervals: list[npt.NDArray[np.int64]],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    region: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    number = (intervals[0] * _INTERVALS + intervals[1]) * _INTERVALS + intervals[2]
    number = (number * _SHARES + np.clip(first, 0, 15)) * _SHARES + np.clip(second, 0, 15)
    return number * _REGIONS + region + 1


def _landmarks(
    peaks: Peaks, hashes: npt.NDArray[np.int64], firsts: npt.NDArray[np.intp]
) -> Landmarks:
    """Each number once for each place, in order of the numbers."""
    once = np.unique((hashes << _PEAK_BITS) | firsts)
    numbers, at = (once >> _PEAK_BITS).astype(np.uint32), once & ((1 << _PEAK_BITS) - 1)
    quarters = peaks.pitches[at] * AT_PITCHES_PER_SEMITONE // PITCHES_PER_SEMITONE
    return Landmarks(numbers, peaks.times[at], quarters)
