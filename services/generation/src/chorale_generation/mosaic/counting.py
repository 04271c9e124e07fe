"""Counting a track: in which octave of its tempo, from which beat, and when."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from chorale_generation.mosaic.heard import Heard

Floats = npt.NDArray[np.float64]

BEATS_PER_BAR = 4  # where analysis knows no bars
ASSUMED_BPM = 120.0  # where nothing beats


def folded(heard: Heard, bpm: float) -> Heard:
    """The same track counted in the octave of its tempo that is nearest to `bpm`.

    Beats are put in between, or left out, so that no track is stretched by more than half an
    octave.
    """
    if not heard.has_beats:
        return _assumed(heard, bpm)
    octaves = round(math.log2(bpm / heard.bpm))
    while octaves > 0:
        heard, octaves = _doubled(heard), octaves - 1
    while octaves < 0 and len(heard.beats_seconds) > 3:
        heard, octaves = _halved(heard), octaves + 1
    return heard


def bar_starts(heard: Heard, beats_per_bar: int = BEATS_PER_BAR) -> list[int]:
    """Places in `beats_seconds` at which whole bars begin; at least one place."""
    first = heard.downbeat if heard.downbeat >= 0 else _strongest(heard, beats_per_bar)
    first %= beats_per_bar
    last = len(heard.beats_seconds) - beats_per_bar
    starts = list(range(first, last + 1, beats_per_bar))
    return [at for at in starts if at < len(heard.beats_seconds) - 1] or [0]


def grid(heard: Heard, first: int, count: int) -> Floats:
    """The moments of beats `first` to `first + count`, going on at the last tempo past the end."""
    beats = np.asarray(heard.beats_seconds)
    places = np.arange(first, first + count + 1)
    inside = np.interp(places, np.arange(len(beats)), beats)
    before, after = beats[1] - beats[0], beats[-1] - beats[-2]
    early = np.minimum(places, 0) * before
    late = np.maximum(places - (len(beats) - 1), 0) * after
    moments: Floats = inside + early + late
    return moments


def _strongest(heard: Heard, beats_per_bar: int) -> int:
    """The place in the bar where the strongest beats are."""
    strengths: Sequence[float] = heard.strengths or (1.0,) * len(heard.beats_seconds)
    means = [float(np.mean(strengths[at::beats_per_bar] or [0.0])) for at in range(beats_per_bar)]
    return int(np.argmax(means))


def _doubled(heard: Heard) -> Heard:
    beats = np.asarray(heard.beats_seconds)
    places = np.arange(2 * len(beats) - 1) / 2.0
    strengths = np.asarray(heard.strengths or np.ones(len(beats)))
    between = np.interp(places, np.arange(len(beats)), strengths)
    between[1::2] *= 0.5
    return replace(
        heard,
        beats_seconds=tuple(np.interp(places, np.arange(len(beats)), beats).tolist()),
        strengths=tuple(between.tolist()),
        bpm=2.0 * heard.bpm,
        downbeat=-1 if heard.downbeat < 0 else 2 * heard.downbeat,
    )


def _halved(heard: Heard) -> Heard:
    first = _strongest(heard, 2) if heard.downbeat < 0 else heard.downbeat % 2
    return replace(
        heard,
        beats_seconds=heard.beats_seconds[first::2],
        strengths=heard.strengths[first::2],
        bpm=heard.bpm / 2.0,
        downbeat=-1 if heard.downbeat < 0 else heard.downbeat // 2,
    )


def _assumed(heard: Heard, bpm: float) -> Heard:
    """A track without a beat runs as it is: its beats are wherever those of the result are."""
    count = max(2, int(heard.duration_seconds * bpm / 60.0) + 1)
    beats = tuple((np.arange(count) * 60.0 / bpm).tolist())
    return replace(heard, beats_seconds=beats, strengths=(1.0,) * count, bpm=bpm, downbeat=0)
