"""Which bars of which track sound when."""

import math
from dataclasses import dataclass

import numpy as np

from chorale_generation.mosaic.asked import Wishes
from chorale_generation.mosaic.counting import (
    ASSUMED_BPM,
    BEATS_PER_BAR,
    bar_starts,
    folded,
    grid,
)
from chorale_generation.mosaic.heard import Heard
from chorale_generation.mosaic.keys import Shifts, shifts

_NATURAL_BPM = (70.0, 160.0)  # where a tempo of the engine's own choice lies


@dataclass(frozen=True)
class Gains:
    """How loud the parts of both tracks are, in [0, 1]."""

    percussive: tuple[float, float]
    harmonic: tuple[float, float]


@dataclass(frozen=True)
class Section:
    """A run of whole bars of the result, and the moments of its beats in both tracks."""

    start_seconds: float
    beat_count: int
    beats_seconds: tuple[tuple[float, ...], tuple[float, ...]]  # one more than `beat_count`
    follows: tuple[bool, bool]  # whether each track goes on where the section before ended


@dataclass(frozen=True)
class Arrangement:
    """All sections of a mosaic."""

    bpm: float
    shifts: Shifts
    gains: Gains
    rhythm_track: int
    sections: tuple[Section, ...]
    crossfade_seconds: float  # 0: whatever is heard least
    warnings: tuple[str, ...]
    has_beats: bool  # whether any was heard in either track


def arranged(
    tracks: tuple[Heard, Heard], wishes: Wishes, duration_seconds: float, seed: int
) -> Arrangement:
    """Lays out a mosaic of so many seconds; the same seed lays out the same."""
    draws = np.random.default_rng(seed)
    rhythm = wishes.rhythm_track or _rhythm_track(tracks)
    bpm = _tempo(tracks, wishes, rhythm)
    gains = mixed(wishes.influence, rhythm)
    counted = folded(tracks[0], bpm), folded(tracks[1], bpm)
    return Arrangement(
        bpm=bpm,
        shifts=shifts([track.sure_key for track in tracks], gains.harmonic, wishes.key),
        gains=gains,
        rhythm_track=rhythm,
        sections=tuple(_sections(counted, bpm, wishes.section_bars, duration_seconds, draws)),
        crossfade_seconds=wishes.crossfade_seconds,
        warnings=tuple(
            f"No beat was heard in track {number}: it runs at its own pace."
            for number, track in enumerate(tracks, 1)
            if not track.has_beats
        ),
        has_beats=any(track.has_beats for track in tracks),
    )


def mixed(influence: float, rhythm_track: int) -> Gains:
    """The parts that sound: at .5 rhythm of one track and harmony of the other, at 0 or 1 one."""
    shares = influence, 1.0 - influence
    leading = tuple(min(1.0, 2.0 * share) for share in shares)
    following = tuple(max(0.0, 2.0 * share - 1.0) for share in shares)
    if rhythm_track == 1:
        return Gains((leading[0], following[1]), (following[0], leading[1]))
    return Gains((following[0], leading[1]), (leading[0], following[1]))


def _tempo(tracks: tuple[Heard, Heard], wishes: Wishes, rhythm_track: int) -> float:
    """Between both tempi, nearer to the track that gives more, in the octave of the rhythm's."""
    if wishes.bpm:
        return wishes.bpm
    one, other = (track.bpm if track.has_beats else 0.0 for track in tracks)
    if not one or not other:
        return _natural(one or other or ASSUMED_BPM)
    lent = _natural(tracks[rhythm_track - 1].bpm)
    one, other = (bpm * 2.0 ** round(math.log2(lent / bpm)) for bpm in (one, other))
    return _natural(one**wishes.influence * other ** (1.0 - wishes.influence))


def _natural(bpm: float) -> float:
    low, high = _NATURAL_BPM
    while bpm < low:
        bpm *= 2.0
    while bpm > high:
        bpm /= 2.0
    return bpm


def _rhythm_track(tracks: tuple[Heard, Heard]) -> int:
    """The track with more strokes in it, and a more even beat; the first where they are alike."""
    one, other = (_evenness(track) + track.percussive_share for track in tracks)
    return 2 if other > one + 0.02 else 1


def _evenness(track: Heard) -> float:
    if not track.has_beats:
        return -1.0
    lengths = np.diff(track.beats_seconds)
    return 1.0 - float(lengths.std() / lengths.mean())


def _sections(
    tracks: tuple[Heard, Heard],
    bpm: float,
    section_bars: int,
    duration_seconds: float,
    draws: np.random.Generator,
) -> list[Section]:
    most = min(_beats_that_fit(track, section_bars) for track in tracks)
    sections: list[Section] = []
    ends, count = [-1, -1], 0
    there = min(_beats_there(track) for track in tracks)
    for beats in _lengths(duration_seconds * bpm / 60.0, most, there):
        firsts = [_first(track, beats, draws) for track in tracks]
        moments = [grid(track, at, beats) for track, at in zip(tracks, firsts, strict=True)]
        sections.append(
            Section(
                count * 60.0 / bpm,
                beats,
                (tuple(moments[0].tolist()), tuple(moments[1].tolist())),
                (firsts[0] == ends[0], firsts[1] == ends[1]),
            )
        )
        ends, count = [at + beats for at in firsts], count + beats
    return sections


def _lengths(beats: float, most: int, there: int) -> list[int]:
    """How many beats each section has, until there are enough; `there` are in both tracks.

    What is left for the last is a bar at least, where the one before can spare one or take on
    what is left: in less a join has no room, and no loudness.
    """
    count = math.ceil(beats / most - 1e-9)
    lengths, left = [most] * count, math.ceil(beats - most * (count - 1) - 1e-9)
    if count == 1 or left >= BEATS_PER_BAR:
        return lengths
    if most > BEATS_PER_BAR:
        lengths[-2] -= BEATS_PER_BAR
    elif most + left <= there:
        lengths[-2:] = [most + left]
    return lengths


def _beats_that_fit(track: Heard, section_bars: int) -> int:
    """Beats of a section: whole bars while the track has one, else as many as it has."""
    there = _beats_there(track)
    bars = min(section_bars, there // BEATS_PER_BAR)
    return bars * BEATS_PER_BAR if bars else max(1, there)


def _beats_there(track: Heard) -> int:
    """Beats from the first bar on."""
    return len(track.beats_seconds) - 1 - bar_starts(track)[0]


def _first(track: Heard, beats: int, draws: np.random.Generator) -> int:
    """A bar to begin with, of those after which enough follows; the best there is otherwise."""
    starts = bar_starts(track)
    enough = [at for at in starts if at + beats < len(track.beats_seconds)]
    return int(draws.choice(enough or starts[:1]))
