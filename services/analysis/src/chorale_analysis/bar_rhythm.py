"""The rhythm that a network's chances of beats and of downbeats tell."""

import numpy as np

from chorale_analysis.bar_space import BarPath, decode_bars, tempi
from chorale_analysis.beats import local_intervals
from chorale_analysis.rhythm import NO_RHYTHM, Beat, Meter, Rhythm, RhythmSettings, Tempo
from chorale_analysis.state_space import Floats, Integers

_ACTIVE = 0.05  # activations below say nothing
_LEAST_BEATS = 3
_HINT_REACH = 2.0**0.5  # of a tempo that is expected: no octave of it is within


def rhythm_of(
    heard: Floats,
    frames_per_second: float,
    duration_seconds: float,
    settings: RhythmSettings,
    bars: tuple[int, ...],
) -> Rhythm:
    """By chances `(frames, 2)` of beats within bars and of those that begin them.

    `bars` are the lengths thought of where none are asked for.
    """
    if not len(heard) or float(heard.max()) < settings.threshold:
        return NO_RHYTHM
    if settings.from_peaks:
        return _by_peaks(heard, frames_per_second, duration_seconds, settings)
    periods = tempi(frames_per_second, *_bounds(settings))
    lengths = settings.beats_per_bar or bars
    stiff = settings.transition_lambda
    paths = [decode_bars(heard[:, 0], heard[:, 1], periods, length, stiff) for length in lengths]
    best = int(np.argmax([path.score for path in paths]))
    path = paths[best]
    sounding = np.flatnonzero(heard.max(axis=1)[path.frames] >= _ACTIVE)
    if len(sounding) < _LEAST_BEATS:
        return NO_RHYTHM
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    found = path.frames[first:last]
    meters = _meters(lengths, paths, len(heard) / len(found), frames_per_second)
    return _told(heard, found, path.places[first:last], frames_per_second, duration_seconds, meters)


def _bounds(settings: RhythmSettings) -> tuple[float, float]:
    """The slowest and the fastest tempo thought of."""
    slowest, fastest, hint = settings.bpm_min, settings.bpm_max, settings.bpm_hint
    if slowest <= hint <= fastest:
        return max(slowest, hint / _HINT_REACH), min(fastest, hint * _HINT_REACH)
    return slowest, fastest


def _meters(
    lengths: tuple[int, ...], paths: list[BarPath], frames_per_beat: float, rate: float
) -> tuple[Meter, ...]:
    scores = np.array([frames_per_beat * path.score for path in paths])
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    return tuple(
        Meter(
            lengths[n],
            float(chances[n]),
            tuple((paths[n].frames[paths[n].places == 1] / rate).tolist()),
        )
        for n in np.argsort(-chances, kind="stable")
    )


def _by_peaks(
    heard: Floats, frames_per_second: float, duration_seconds: float, settings: RhythmSettings
) -> Rhythm:
    """Beats wherever the chances peak, loudest first, none nearer than the fastest tempo."""
    loud = heard.max(axis=1)
    apart = max(1, int(60.0 * frames_per_second / _bounds(settings)[1]))
    free = loud >= settings.threshold
    peaks = []
    for frame in np.argsort(-loud, kind="stable"):
        if free[frame]:
            peaks.append(int(frame))
            free[max(0, frame - apart + 1) : frame + apart] = False
    found = np.array(sorted(peaks), np.int64)
    if len(found) < _LEAST_BEATS:
        return NO_RHYTHM
    firsts = np.flatnonzero(heard[found, 1] > heard[found, 0])
    places = np.zeros(len(found), np.int64)
    meters: tuple[Meter, ...] = ()
    if len(firsts) > 1:
        counts = np.bincount(np.diff(firsts))
        length = int(np.argmax(counts))
        since = np.searchsorted(firsts, np.arange(len(found)), side="right") - 1
        places = np.where(since < 0, 0, np.arange(len(found)) - firsts[since] + 1)
        pickup = length - firsts[0] + 1 + np.arange(len(found))
        places = np.where(since < 0, np.maximum(pickup, 1), places)
        seconds = tuple((found[firsts] / frames_per_second).tolist())
        meters = (Meter(length, float(counts[length] / counts.sum()), seconds),)
    return _told(heard, found, places, frames_per_second, duration_seconds, meters)


def _told(
    heard: Floats,
    frames: Integers,
    places: Integers,
    frames_per_second: float,
    duration_seconds: float,
    meters: tuple[Meter, ...],
) -> Rhythm:
    loud = heard.max(axis=1)
    seconds = np.minimum(frames / frames_per_second, duration_seconds)
    intervals = np.diff(seconds)
    median = float(np.median(intervals))
    bpm, clear = 60.0 / median, float(loud[frames].mean())
    return Rhythm(
        beats=tuple(
            Beat(float(at), float(loud[frame] / loud.max()), float(loud[frame]), int(place))
            for at, frame, place in zip(seconds, frames, places, strict=True)
        ),
        bpm=bpm,
        bpm_confidence=clear,
        stability=float(np.clip(1.0 - intervals.std() / median, 0.0, 1.0)),
        candidates=(Tempo(bpm, clear), *(Tempo(bpm * r, (1.0 - clear) / 2) for r in (0.5, 2.0))),
        curve_bpm=tuple((60.0 / local_intervals(intervals))[: len(frames)].tolist()),
        meters=meters,
    )
