"""Beats and tempo, from what begins when.

A bar-pointer state space decodes the onset strength. Whether there is a beat at all, and how sure
its tempo is, is then measured: how alike one beat is to the next.
"""

from collections.abc import Iterable

import numpy as np

from chorale_analysis.meter import find_bars
from chorale_analysis.onsets import HOPS_PER_SECOND, Floats, Onsets
from chorale_analysis.rhythm import NO_RHYTHM, Beat, Rhythm, RhythmSettings, Tempo
from chorale_analysis.state_space import Integers, decode

# The flux of a window stands at its middle and rises before it: measured on clicks and on played
# music, half a smoothed onset early.
_LATENCY_SECONDS = 0.010

# Strength to probability of a beat: even odds at 1.5 deviations above the usual.
_EVEN_STRENGTH, _STRENGTH_SLOPE = 1.5, 1.5

# People tap near 105 BPM and seldom far from it: cost per beat, in nats, of an octave off.
_USUAL_BPM, _OCTAVE_COST = 105.0, 4.0
_HINT_COST = 64.0  # a tempo the caller expects weighs more

# What noise reaches, white or pink, 208 seeded pieces of 3 to 60 s: alikeness .13 and more, and at
# most .13 + .75 / sqrt(beats) in all but two, of 3 s. Steady tones and sweeps lack contrast.
_NOISE_ALIKENESS, _NOISE_SPREAD, _LEAST_CONTRAST = 0.13, 0.75, 1.6

# How firmly beats recur at that alikeness, in nats; and how often, by the annotated material, the
# tempo (expected calibration error .10) and single beats (.07) are right that recur so firmly.
_EVEN_ALIKENESS, _ALIKENESS_SLOPE = 0.45, 7.0
_TEMPO_SLOPE, _TEMPO_ODDS = 0.5, -0.1
_RECURRING_SLOPE, _SOUNDING_SLOPE, _BEAT_ODDS = 0.88, 0.86, -0.04

_PATTERN_POINTS = 16
_FACTORS = (1.0, 0.5, 2.0, 2.0 / 3.0, 1.5, 1.0 / 3.0, 3.0)  # tempi that share beats
_CANDIDATE_SHARPNESS = 6.0


def track_beats(onsets: Onsets, duration_seconds: float, settings: RhythmSettings) -> Rhythm:
    """Finds the beats of what was heard; `NO_RHYTHM` where nothing recurs.

    Reference: Krebs, Boeck and Widmer, ISMIR 2015, for the state space.
    """
    activation = _activation(onsets.strength)
    hops = _peaks(activation, settings) if settings.from_peaks else _decoded(activation, settings)
    hops = hops[_sounding(hops, onsets.raw)]
    if len(hops) < 3:
        return NO_RHYTHM
    alike = alikeness(onsets.strength, hops)
    contrast = float(onsets.strength[hops].mean())
    noise = _NOISE_ALIKENESS + _NOISE_SPREAD / np.sqrt(len(hops))
    if alike < noise or contrast < _LEAST_CONTRAST:
        return NO_RHYTHM
    seconds = (_refined(onsets.raw, hops) / HOPS_PER_SECOND) + _LATENCY_SECONDS
    odds = _ALIKENESS_SLOPE * (alike - _EVEN_ALIKENESS)
    seconds = np.clip(seconds, 0.0, duration_seconds)
    return _rhythm(onsets, activation, hops, seconds, odds, settings.beats_per_bar)


def alikeness(strength: Floats, hops: Integers) -> float:
    """How alike the onsets of one beat are to those of the next, or of the one after, in [-1, 1].

    Every beat is stretched to the same length, so that a tempo that bends loses nothing.
    """
    places = np.arange(_PATTERN_POINTS) / _PATTERN_POINTS - 0.5 / _PATTERN_POINTS
    starts, lengths = hops[:-1].astype(float), np.diff(hops)
    at = starts[:, None] + lengths[:, None] * places
    heard = np.interp(at.ravel(), np.arange(len(strength)), strength)
    patterns = np.clip(heard, -3.0, 4.0).reshape(-1, _PATTERN_POINTS)
    return max(_correlation(patterns[:-lag], patterns[lag:]) for lag in (1, 2))


def _rhythm(
    onsets: Onsets,
    activation: Floats,
    hops: Integers,
    seconds: Floats,
    odds: float,
    lengths: tuple[int, ...],
) -> Rhythm:
    intervals = np.diff(seconds)
    median = float(np.median(intervals))
    strengths = onsets.raw[hops] / onsets.raw[hops].max()
    found = find_bars(onsets, seconds, lengths)
    recurring = _RECURRING_SLOPE * _share(odds) + _BEAT_ODDS
    chances = [_share(recurring + _SOUNDING_SLOPE * float(one)) for one in activation[hops]]
    return Rhythm(
        beats=tuple(
            Beat(float(at), float(strength), float(chance), place)
            for at, strength, chance, place in zip(
                seconds, strengths, chances, found.positions, strict=True
            )
        ),
        bpm=60.0 / median,
        bpm_confidence=_share(_TEMPO_SLOPE * odds + _TEMPO_ODDS),
        stability=float(np.clip(1.0 - intervals.std() / median, 0.0, 1.0)),
        candidates=tuple(_candidates(onsets.strength, median)),
        curve_bpm=tuple((60.0 / _local(intervals)).tolist()),
        meters=found.meters,
    )


def _share(odds: float) -> float:
    """Odds in nats as a share in [0, 1]."""
    return float(1.0 / (1.0 + np.exp(-odds)))


def _activation(strength: Floats) -> Floats:
    activation: Floats = 1.0 / (1.0 + np.exp(-_STRENGTH_SLOPE * (strength - _EVEN_STRENGTH)))
    return activation


def _decoded(activation: Floats, settings: RhythmSettings) -> Integers:
    fastest, slowest = (60.0 * HOPS_PER_SECOND / b for b in (settings.bpm_max, settings.bpm_min))
    periods = np.arange(max(2, round(fastest)), max(2, round(slowest)) + 1)
    bpm = 60.0 * HOPS_PER_SECOND / periods
    usual, cost = (
        (settings.bpm_hint, _HINT_COST) if settings.bpm_hint else (_USUAL_BPM, _OCTAVE_COST)
    )
    prior = -cost * np.log2(bpm / usual) ** 2
    path = decode(activation, periods, prior, settings.transition_lambda)
    return path.beat_hops


def _peaks(activation: Floats, settings: RhythmSettings) -> Integers:
    """Greatest activations over the threshold, none closer than the fastest tempo."""
    apart = max(1, round(60.0 * HOPS_PER_SECOND / settings.bpm_max))
    taken: list[int] = []
    for hop in np.flatnonzero(activation >= settings.threshold):
        if taken and hop - taken[-1] < apart:
            if activation[hop] > activation[taken[-1]]:
                taken[-1] = int(hop)
        else:
            taken.append(int(hop))
    return np.array(taken, np.int64)


def _sounding(hops: Integers, raw: Floats) -> slice:
    """From the first to the last beat on which anything begins: none in silence around it."""
    if not len(hops):
        return slice(0, 0)
    heard = np.flatnonzero(raw[hops] > 0.1 * np.median(raw[hops]))
    return slice(heard[0], heard[-1] + 1) if len(heard) else slice(0, 0)


def _refined(raw: Floats, hops: Integers) -> Floats:
    """The summit of a parabola through each beat's hop and its neighbours."""
    inner = np.clip(hops, 1, len(raw) - 2)
    before, here, after = raw[inner - 1], raw[inner], raw[inner + 1]
    curve = before - 2.0 * here + after
    shift = np.where(curve < -1e-12, 0.5 * (before - after) / np.minimum(curve, -1e-12), 0.0)
    refined: Floats = hops + np.clip(shift, -0.5, 0.5)
    return refined


def _candidates(strength: Floats, interval_seconds: float) -> Iterable[Tempo]:
    """Tempi in simple ratios to the one found, by how well the onsets repeat at each."""
    scores = []
    for factor in _FACTORS:
        bpm = 60.0 / interval_seconds * factor
        repeats = _autocorrelation(strength, round(interval_seconds / factor * HOPS_PER_SECOND))
        usual = 0.05 * np.log2(bpm / _USUAL_BPM) ** 2
        scores.append((bpm, repeats - usual + (0.5 if factor == 1.0 else 0.0)))
    weights = np.exp([_CANDIDATE_SHARPNESS * score for _, score in scores])
    chances = weights / weights.sum()
    found = [Tempo(bpm, float(p)) for (bpm, _), p in zip(scores, chances, strict=True)]
    return sorted(found, key=lambda tempo: -tempo.probability)


def _autocorrelation(strength: Floats, lag: int) -> float:
    if not 0 < lag < len(strength) - 2:
        return 0.0
    clipped = np.clip(strength, -3.0, 4.0)
    return _correlation(clipped[:-lag], clipped[lag:])


def _correlation(one: Floats, other: Floats) -> float:
    if not one.size or one.std() < 1e-9 or other.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _local(intervals: Floats) -> Floats:
    """The median of the intervals around each beat; the first and last have fewer."""
    around = np.pad(intervals, 2, mode="edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(around, 4), axis=1)
    return medians[: len(intervals) + 1]
