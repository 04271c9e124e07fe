"""Where music changes and where what was heard begins again, beat by beat."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from chorale_analysis.chroma import HOPS_PER_SECOND
from chorale_analysis.pitches import LOWEST_NOTE, Pitches
from chorale_analysis.rhythm import Rhythm

Floats = npt.NDArray[np.float64]

_MOMENTS_MAX = 1500  # likeness of all to all is their square; longer music is heard more coarsely
_FREE_SECONDS = 0.5  # between moments where no beat is known
_SURE_BEATS = 0.3
_TIMBRES = 14  # coefficients of the log mel spectrum

# Chosen on the annotated material where the result stays the same around them.
_MEMORY_SECONDS = 5.0  # a moment is what led to it and what follows
_TIMBRE_IN_REPEATS = 0.1  # against pitch classes
_NEIGHBOURS = 0.04  # of all moments: those most like one
_REPEAT_SECONDS = 3.0  # over which a repeat is smoothed
_KERNEL_SECONDS = 8.0  # before and after a change
_LOCAL_SECONDS = 8.0


@dataclass(frozen=True)
class Moments:
    """The music moment by moment, usually beat by beat."""

    edges: Floats  # where each begins, and where the last ends, in seconds
    classes: Floats  # (moments, 12), each of length 1
    timbre: Floats  # (moments, _TIMBRES), standardised
    level: Floats  # (moments,): power
    on_beats: bool  # whether every moment is one beat

    @property
    def seconds(self) -> float:
        """How long a moment usually is."""
        return float(np.median(np.diff(self.edges)))


def moments(pitches: Pitches, rhythm: Rhythm, duration_seconds: float) -> Moments:
    """What sounds in each beat; in each half second where none is known."""
    edges, on_beats = _edges(rhythm, duration_seconds)
    places = np.clip(np.round(edges * HOPS_PER_SECOND).astype(int), 0, len(pitches.notes) - 1)
    starts, ends = places[:-1], np.maximum(places[1:], places[:-1] + 1)
    notes = np.sqrt(pitches.notes.astype(np.float64))
    classes = np.zeros((len(notes), 12))
    for number in range(notes.shape[1]):
        classes[:, (LOWEST_NOTE + number) % 12] += notes[:, number]
    timbre = fft.dct(pitches.bands.astype(np.float64), axis=1, norm="ortho")[:, :_TIMBRES]
    classes, timbre, level = (
        _means(values, starts, ends) for values in (classes, timbre, pitches.level[:, None] ** 2)
    )
    classes /= np.linalg.norm(classes, axis=1, keepdims=True) + 1e-9
    timbre = (timbre - timbre.mean(axis=0)) / (timbre.std(axis=0) + 1e-9)
    return Moments(edges, classes, timbre, level[:, 0], on_beats)


def salience(heard: Moments) -> Floats:
    """How much a section seems to begin at each moment, in deviations from what is usual."""
    unlike = _distances(heard.classes), _distances(heard.timbre) / _TIMBRES
    steps = max(2, round(_MEMORY_SECONDS / heard.seconds))
    longer = _distances(_remembered(heard.classes, steps)) / steps
    longer += _TIMBRE_IN_REPEATS * _distances(_remembered(heard.timbre, steps)) / steps / _TIMBRES
    novel = _repeats(longer, heard.seconds) + _changes(unlike[0] + unlike[1], heard.seconds)
    smooth = gaussian_filter1d(novel, max(0.3, 0.3 / heard.seconds))
    half = max(1, round(_LOCAL_SECONDS / heard.seconds))
    around = np.pad(smooth, half, mode="reflect" if len(smooth) > half else "edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * half + 1), axis=1)
    above = smooth - usual[: len(smooth)]
    outstanding: Floats = above / (above.std() + 1e-9)
    return outstanding


def contrast(heard: Moments) -> float:
    """How much more alike neighbours are than moments far apart: 0 for noise, up to 1."""
    unlike = _distances(heard.classes)
    near = float(np.mean(np.diagonal(unlike, 1)))
    return 1.0 - near / (float(unlike.mean()) + 1e-9)


def _edges(rhythm: Rhythm, duration_seconds: float) -> tuple[Floats, bool]:
    """Where moments begin and the last ends, and whether these are beats."""
    beats = np.array([beat.seconds for beat in rhythm.beats])
    on_beats = len(beats) >= 8 and rhythm.bpm_confidence >= _SURE_BEATS
    if not on_beats:
        edges = np.arange(0.0, duration_seconds, _FREE_SECONDS)
    else:
        period = 60.0 / rhythm.bpm
        before = np.arange(beats[0] - period, 0.2, -period)[::-1]
        after = np.arange(beats[-1] + period, duration_seconds, period)
        edges = np.concatenate([[0.0], before, beats, after])
    edges = np.unique(edges[edges < duration_seconds])
    stride = -(-len(edges) // _MOMENTS_MAX)
    return np.append(edges[::stride], duration_seconds), on_beats and stride == 1


def _means(values: Floats, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Floats:
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    means: Floats = (total[ends] - total[starts]) / (ends - starts)[:, None]
    return means


def _distances(rows: Floats) -> Floats:
    squares = np.sum(rows**2, axis=1)
    distances: Floats = np.maximum(squares[:, None] + squares - 2.0 * rows @ rows.T, 0.0)
    return distances


def _remembered(rows: Floats, steps: int) -> Floats:
    """Every row with those around it."""
    before, after = steps // 2, steps - 1 - steps // 2
    padded = np.pad(rows, ((before, after), (0, 0)), mode="edge")
    return np.concatenate([padded[n : n + len(rows)] for n in range(steps)], axis=1)


def _repeats(unlike: Floats, moment_seconds: float) -> Floats:
    """How much what is repeated changes: structure features (Serra et al., AAAI 2012)."""
    count = len(unlike)
    near = max(2, round(_NEIGHBOURS * count)) + 1
    nearest = np.argsort(unlike, axis=1)[:, :near]
    alike = np.zeros((count, count), np.float32)
    np.put_along_axis(alike, nearest, 1.0, axis=1)
    alike *= alike.T
    lags = (np.arange(count)[:, None] + np.arange(count)) % count
    by_lag = np.take_along_axis(alike, lags, axis=1)
    wide = max(1.0, _REPEAT_SECONDS / moment_seconds)
    smooth = gaussian_filter(by_lag, [wide, 1.0], mode=["nearest", "wrap"])
    rise = np.zeros(count)
    rise[1:] = np.sqrt(np.sum(np.diff(smooth, axis=0) ** 2, axis=1))
    repeats: Floats = rise / (rise.max() + 1e-12)
    return repeats


def _changes(unlike: Floats, moment_seconds: float) -> Floats:
    """How much before and after differ: a checkerboard kernel (Foote, ICME 2000)."""
    half = max(4, round(_KERNEL_SECONDS / moment_seconds))
    alike = np.exp(-unlike / (np.median(unlike) + 1e-9))
    padded = np.pad(alike, half, mode="edge")
    away = np.arange(-half, half) + 0.5
    shape = np.exp(-0.5 * (away / (0.5 * half)) ** 2)
    kernel = np.outer(shape, shape) * np.sign(np.outer(away, away))
    change = np.array(
        [np.sum(padded[n : n + 2 * half, n : n + 2 * half] * kernel) for n in range(len(unlike))]
    )
    change = np.maximum(change, 0.0)
    changes: Floats = change / (change.max() + 1e-12)
    return changes
