"""Beats and tempo, from what begins when.

A bar-pointer state space decodes the onset strength. Whether there is a beat at all, and how sure
its tempo is, is then measured: how alike one beat is to the next.
"""

from collections.abc import Iterable

import numpy as np

from chorale_analysis import pulse_network
from chorale_analysis.choosing import Choice, choose, judgement, odds_of, share
from chorale_analysis.heard_beats import classes_between, tonality
from chorale_analysis.learned import ALONE, Judgement
from chorale_analysis.onsets import HOPS_PER_SECOND, Floats, Onsets
from chorale_analysis.opinions import Opinion
from chorale_analysis.pulse_network import PulseNetwork
from chorale_analysis.pulses import LEAST_BEATS, Pulse, pulse
from chorale_analysis.rhythm import NO_RHYTHM, Beat, Rhythm, RhythmSettings, Tempo
from chorale_analysis.state_space import Integers, decode

# The flux of a window stands at its middle and rises before it: measured on clicks and on played
# music, half a smoothed onset early.
LATENCY_SECONDS = 0.010

# Strength to probability of a beat: even odds at 1.5 deviations above the usual.
_EVEN_STRENGTH, _STRENGTH_SLOPE = 1.5, 1.5

# People tap near 105 BPM and seldom far from it: cost per beat, in nats, of an octave off.
_USUAL_BPM, _OCTAVE_COST = 105.0, 4.0
# Octaves of tempo are decoded each by itself, so that what is chosen between them is one thing and
# how a beat follows another is another.
_OCTAVE_STEP, _TEMPI = 0.36, 40
_HINT_COST = 64.0  # a tempo the caller expects weighs more

# What noise reaches, white or pink, 208 seeded pieces of 3 to 60 s: alikeness .13 and more, and at
# most .13 + .75 / sqrt(beats) in all but two, of 3 s. Steady tones and sweeps lack contrast.
_NOISE_ALIKENESS, _NOISE_SPREAD, _LEAST_CONTRAST = 0.13, 0.75, 1.6

# How firmly beats recur at that alikeness, in nats.
_EVEN_ALIKENESS, _ALIKENESS_SLOPE = 0.45, 7.0
_USUAL_CHANCE = 0.8

_DOUBT = 0.08  # shares that noise is taken to recur more, when several pulses are asked of it
_RELIEF = 0.15  # of alikeness: steady chords, voices and strings recur less, and are no noise

_PATTERN_POINTS = 16
_FACTORS = (1.0, 0.5, 2.0, 2.0 / 3.0, 1.5, 1.0 / 3.0, 3.0)  # tempi that share beats
_CANDIDATE_SHARPNESS = 6.0


def track_beats(
    onsets: Onsets,
    duration_seconds: float,
    settings: RhythmSettings,
    opinion: Opinion | None = None,
) -> Rhythm:
    """Finds the beats of what was heard; `NO_RHYTHM` where nothing recurs.

    The opinion of a network brings beats to choose from, and counts in the choice.

    Reference: Krebs, Boeck and Widmer, ISMIR 2015, for the state space.
    """
    activation = activation_of(onsets.strength)
    tracks = tracks_of(activation, onsets, settings)
    pulses = pulses_of(onsets, activation, tracks)
    more: list[Pulse] = []
    if opinion:
        shared = tracks_of(opinion.shared(activation, LATENCY_SECONDS), onsets, settings)
        more = pulses_of(onsets, activation, fresh(shared, tracks))
    choice = choose(onsets, pulses, settings, opinion, more) if pulses else None
    hops = choice.chosen.pulse.hops if choice else max(tracks, key=len)
    if len(hops) < 3:
        return NO_RHYTHM
    odds = _recurrence_of_any(onsets, hops, tracks)
    if odds is None:
        return NO_RHYTHM
    seconds = np.clip(seconds_of(onsets.raw, hops), 0.0, duration_seconds)
    return _rhythm(onsets, activation, hops, seconds, odds, choice, judgement(opinion))


def tracks_of(activation: Floats, onsets: Onsets, settings: RhythmSettings) -> list[Integers]:
    """The likeliest beats of every octave of tempo, or peaks if asked for, none in silence."""
    tracks = (
        [_peaks(activation, settings)] if settings.from_peaks else _decoded(activation, settings)
    )
    return [hops[_sounding(hops, onsets.raw)] for hops in tracks]


def pulses_of(
    onsets: Onsets,
    activation: Floats,
    tracks: list[Integers],
    network: PulseNetwork = pulse_network.LEARNED,
) -> list[Pulse]:
    """All beats to choose from: those of tracks unlike each other."""
    return [
        pulse(
            onsets,
            hops,
            seconds_of(onsets.raw, hops),
            activation,
            alikeness(onsets.strength, hops),
            network,
        )
        for hops in unlike(tracks)
        if len(hops) >= LEAST_BEATS
    ]


def _recurrence_of_any(onsets: Onsets, hops: Integers, tracks: list[Integers]) -> float | None:
    """How firmly the chosen beats recur; None where neither they nor others are over noise.

    Where notes sound it is no noise that is heard, and less has to recur.
    """
    seconds = seconds_of(onsets.raw, hops)
    relief = _RELIEF * tonality(classes_between(onsets, seconds))
    heard = [recurrence(onsets.strength, one, _DOUBT, relief) for one in tracks if len(one) > 2]
    if all(one is None for one in heard):
        return None
    return firmness(alikeness(onsets.strength, hops))


def firmness(alike: float) -> float:
    """How firmly beats recur that are so alike, in nats."""
    return _ALIKENESS_SLOPE * (alike - _EVEN_ALIKENESS)


def unlike(tracks: list[Integers]) -> list[Integers]:
    """Without those that are another's beats, nearly all."""
    kept: list[Integers] = []
    for hops in tracks:
        if not any(
            abs(len(hops) - len(one)) <= 2 and len(np.intersect1d(hops, one)) > 0.9 * len(hops)
            for one in kept
        ):
            kept.append(hops)
    return kept


def fresh(tracks: list[Integers], known: list[Integers]) -> list[Integers]:
    """Tracks unlike each other, and unlike all that are known."""
    return unlike([*known, *tracks])[len(unlike(known)) :]


def recurrence(
    strength: Floats, hops: Integers, doubt: float = 0.0, relief: float = 0.0
) -> float | None:
    """How firmly beats at these hops recur, in nats; None where it is no more than in noise.

    `doubt` is how much more it must be, in shares: who asks again and again will find once.
    `relief` is how much less alike it may be.
    """
    alike = alikeness(strength, hops)
    noise = (1.0 + doubt) * (_NOISE_ALIKENESS + _NOISE_SPREAD / np.sqrt(len(hops))) - relief
    if alike < noise or float(strength[hops].mean()) < (1.0 + doubt) * _LEAST_CONTRAST:
        return None
    return firmness(alike)


def seconds_of(raw: Floats, hops: Integers) -> Floats:
    """When beats at these hops are heard."""
    seconds: Floats = _refined(raw, hops) / HOPS_PER_SECOND + LATENCY_SECONDS
    return seconds


def tempo_confidence(odds: float, chance: float = _USUAL_CHANCE, by: Judgement = ALONE) -> float:
    """How likely the tempo is right of beats that recur so firmly, by its chance among others."""
    of_chance, of_odds, usual = by.chances["tempo"]
    return share(of_chance * odds_of(chance) + of_odds * odds + usual)


def beat_confidence(
    odds: float, activation: float, chance: float = _USUAL_CHANCE, by: Judgement = ALONE
) -> float:
    """How likely a beat is right that sounds so much, among beats that recur so firmly."""
    of_chance, of_odds, of_sounding, usual = by.chances["beat"]
    around = of_chance * odds_of(chance) + of_odds * share(odds) + usual
    return share(around + of_sounding * activation)


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
    choice: Choice | None,
    by: Judgement,
) -> Rhythm:
    intervals = np.diff(seconds)
    median = float(np.median(intervals))
    strengths = onsets.raw[hops] / onsets.raw[hops].max()
    places = (choice.chosen.places + 1).tolist() if choice else [0] * len(hops)
    chance = choice.tempo_chance if choice else 0.5
    chances = [beat_confidence(odds, float(one), chance, by) for one in activation[hops]]
    return Rhythm(
        beats=tuple(
            Beat(float(at), float(strength), float(chance), place)
            for at, strength, chance, place in zip(seconds, strengths, chances, places, strict=True)
        ),
        bpm=60.0 / median,
        bpm_confidence=tempo_confidence(odds, chance, by),
        stability=float(np.clip(1.0 - intervals.std() / median, 0.0, 1.0)),
        candidates=tuple(tempo_candidates(onsets.strength, median)),
        curve_bpm=tuple((60.0 / local_intervals(intervals)).tolist()),
        meters=choice.meters if choice else (),
    )


def activation_of(strength: Floats) -> Floats:
    """From how much stands out to how likely a beat is there, in [0, 1]."""
    activation: Floats = 1.0 / (1.0 + np.exp(-_STRENGTH_SLOPE * (strength - _EVEN_STRENGTH)))
    return activation


def _decoded(activation: Floats, settings: RhythmSettings) -> list[Integers]:
    """The likeliest beats of every octave of tempo that is thought of, octaves overlapping."""
    octaves = float(np.log2(settings.bpm_max / settings.bpm_min))
    count = max(1, int(np.ceil((octaves - 1.0) / _OCTAVE_STEP)) + 1)
    lowest = np.geomspace(settings.bpm_min, max(settings.bpm_min, settings.bpm_max / 2.0), count)
    tracks = []
    for bpm_min in lowest:
        slowest = 60.0 * HOPS_PER_SECOND / bpm_min
        fastest = 60.0 * HOPS_PER_SECOND / min(2.0 * bpm_min, settings.bpm_max)
        lengths = np.round(np.geomspace(max(2.0, fastest), max(2.0, slowest), _TEMPI))
        periods = np.unique(lengths.astype(np.int64))
        prior = np.zeros(len(periods))
        tracks.append(decode(activation, periods, prior, settings.transition_lambda).beat_hops)
    return tracks


def tempo_prior(periods: Integers, bpm_hint: float) -> Floats:
    """How likely each beat length in hops is before anything is heard, as its logarithm."""
    bpm = 60.0 * HOPS_PER_SECOND / periods
    usual, cost = (bpm_hint, _HINT_COST) if bpm_hint else (_USUAL_BPM, _OCTAVE_COST)
    prior: Floats = -cost * np.log2(bpm / usual) ** 2
    return prior


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


def tempo_candidates(strength: Floats, interval_seconds: float) -> Iterable[Tempo]:
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


def local_intervals(intervals: Floats) -> Floats:
    """The median of the intervals around each beat; the first and last have fewer."""
    around = np.pad(intervals, 2, mode="edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(around, 4), axis=1)
    return medians[: len(intervals) + 1]
