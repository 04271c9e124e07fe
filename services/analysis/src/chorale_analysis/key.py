"""Key, by likening pitch classes to what keys are made of."""

import itertools
from functools import cache

import numpy as np
import numpy.typing as npt

from chorale_analysis.chroma import HOPS_PER_SECOND, Chroma, class_count
from chorale_analysis.learned import KEY
from chorale_analysis.tonality import KEYS, Candidate, KeySettings, Region, Tonality, relation

Floats = npt.NDArray[np.float64]

# How well each degree fits a major and a minor key, from the tonic up: Temperley, "What's Key for
# Key? The Krumhansl-Schmuckler Key-Finding Algorithm Reconsidered", Music Perception 17 (1999).
# On the training side of the test material: MIREX .91; Krumhansl's own: .66.
_MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)

# From correlations to chances, of keys among each other.
_SHARPNESS = 16.0

# Where nothing is tonal the pitch classes are alike (spread over mean: noise .20, clicks .25, drums
# .2 to .4, music with harmony from .3 up), or like no key (noise .30, a sweep .33, music from .59).
_SPREAD_OF_NOISE, _SPREAD_OF_MUSIC = 0.22, 0.42
_FIT_OF_NOISE, _FIT_OF_MUSIC = 0.35, 0.55

# Clicks and drums have broad spectra (.04 to .57 of the power is in peaks), music .69 and more;
# noise has as many peaks as music.
_PEAKS_OF_CLICKS, _PEAKS_OF_MUSIC = 0.25, 0.65

# How many pitch classes share the sound: a tone or a hum is one (to 1.4), a fifth is two.
_CLASSES_OF_TONE, _CLASSES_OF_MUSIC = 1.5, 2.0

_CANDIDATES = 5
_WINDOW_SECONDS = 4.0
_STEP_SECONDS = 1.0
_CHANGE_COST = 4.0  # nats: a new key must explain the notes so much better


def unmoved(by_key: Floats, duration_seconds: float) -> Tonality:
    """One key for all of it, of the chances that a network gives each of the 24."""
    order = [int(n) for n in np.argsort(-by_key)]
    best = order[0]
    kin = [n for n in order[1:] if relation(n, best) in ("relative", "parallel")]
    told = sorted({*order[1:6], *kin}, key=order.index)
    return Tonality(
        KEYS[best],
        float(by_key[best]),
        tuple(Candidate(KEYS[n], float(by_key[n]), relation(n, best)) for n in told),
        (Region(0.0, duration_seconds, KEYS[best], float(by_key[best])),),
        0.0,
    )


def detect_key(chroma: Chroma, duration_seconds: float, settings: KeySettings) -> Tonality:
    """Finds the key of the whole and, if asked to, where it changes.

    Correlates the mean chroma with the profiles of all 24 keys; how sure the answer is follows
    from how far the best stands out, as was learned. No key where nothing tonal sounds.
    """
    fits = correlations(chroma.classes.mean(axis=0, keepdims=True))[0]
    chances = _chances(fits)
    best = int(np.argmax(chances))
    sure = confidence(fits) * _tonal(chroma, float(fits[best]))
    if sure <= 0.0:
        return Tonality("", 0.0, (), (), 0.0)
    chances *= (1.0 - sure) / max(1e-9, 1.0 - float(chances[best]))
    regions = [Region(0.0, duration_seconds, KEYS[best], sure)]
    if settings.modulations:
        regions = _regions(chroma, duration_seconds, settings.minimum_seconds)
    return Tonality(
        KEYS[best], sure, _candidates(chances, best), tuple(regions), chroma.tuning_cents
    )


def confidence(fits: Floats) -> float:
    """How often the best of 24 keys is right that fit so well: as learned, by few weights."""
    odds = float(np.dot([*told_by(fits), 1.0], KEY))
    return 1.0 / (1.0 + float(np.exp(-odds)))


def told_by(fits: Floats) -> tuple[float, float]:
    """By what it is told how sure a key is: its lead over the next, and how well it fits."""
    best, other = np.sort(fits)[::-1][:2]
    return float(best - other), float(best)


def correlations(classes: Floats) -> Floats:
    """Correlation of every row of `(hops, 12)` with the profiles of `KEYS`: `(hops, 24)`."""
    fits: Floats = _standard(classes) @ _profiles().T / 12.0
    return fits


@cache
def _profiles() -> Floats:
    """What each of `KEYS` is made of: `(24, 12)`."""
    turned = [np.roll(p, tonic) for p in (_MAJOR, _MINOR) for tonic in range(12)]
    return _standard(np.array(turned))


def chances_of(classes: Floats) -> Floats:
    """How likely each of `KEYS` is, by every row of pitch classes."""
    return _chances(correlations(classes))


def _chances(fits: Floats) -> Floats:
    """How likely each key is, along the last axis."""
    weights = np.exp(_SHARPNESS * (fits - fits.max(axis=-1, keepdims=True)))
    chances: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return chances


def _tonal(chroma: Chroma, fit: float) -> float:
    """How surely there is harmony to speak of, in [0, 1]."""
    classes = chroma.classes.mean(axis=0)
    spread = float(classes.std() / max(float(classes.mean()), 1e-12))
    rises = (
        (spread, _SPREAD_OF_NOISE, _SPREAD_OF_MUSIC),
        (fit, _FIT_OF_NOISE, _FIT_OF_MUSIC),
        (chroma.peak_share, _PEAKS_OF_CLICKS, _PEAKS_OF_MUSIC),
        (class_count(classes), _CLASSES_OF_TONE, _CLASSES_OF_MUSIC),
    )
    return float(np.prod([np.clip((v - low) / (high - low), 0.0, 1.0) for v, low, high in rises]))


def _candidates(chances: Floats, best: int) -> tuple[Candidate, ...]:
    """The keys after the best, likeliest first, its relative and parallel always among them."""
    order = [int(key) for key in np.argsort(-chances) if key != best]
    kin = [key for key in order if relation(key, best) in ("relative", "parallel")]
    told = sorted({*order[:_CANDIDATES], *kin}, key=order.index)
    return tuple(Candidate(KEYS[key], float(chances[key]), relation(key, best)) for key in told)


def _regions(chroma: Chroma, duration_seconds: float, minimum_seconds: float) -> list[Region]:
    """The likeliest keys of successive stretches, none shorter than asked."""
    window = max(1, round(_WINDOW_SECONDS * HOPS_PER_SECOND))
    step = max(1, round(_STEP_SECONDS * HOPS_PER_SECOND))
    starts = np.arange(0, max(1, len(chroma.classes) - window // 2), step)
    means = np.stack([chroma.classes[at : at + window].mean(axis=0) for at in starts])
    likely = np.log(_chances(correlations(means)))
    keys = _steadiest(likely, minimum_seconds / _STEP_SECONDS)
    edges = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    regions = []
    for first, last in itertools.pairwise(edges):
        key = int(keys[first])
        # A window speaks for its middle, so a change lies half a window after its start.
        start = 0.0 if not first else (starts[first] + window / 2) / HOPS_PER_SECOND
        end = duration_seconds
        if last < len(keys):
            end = (starts[last] + window / 2) / HOPS_PER_SECOND
        sure = float(np.exp(likely[first:last, key]).mean())
        regions.append(Region(float(start), float(end), KEYS[key], sure))
    return regions


def _steadiest(likely: Floats, minimum_steps: float) -> npt.NDArray[np.int64]:
    """The likeliest key of every step when each key holds for at least so many steps.

    Exact dynamic programming over where stretches begin: `best[n]` is the greatest likelihood of
    the first n steps.
    """
    count = len(likely)
    least = min(max(1, round(minimum_steps)), count)
    total = np.concatenate([np.zeros((1, likely.shape[1])), np.cumsum(likely, axis=0)])
    best = np.full(count + 1, -np.inf)
    best[0] = 0.0
    begun = np.zeros(count + 1, np.int64)
    chosen = np.zeros(count + 1, np.int64)
    for end in range(least, count + 1):
        begins = np.arange(0, end - least + 1)
        scores = (
            best[begins, None] + total[end] - total[begins] - _CHANGE_COST * (begins > 0)[:, None]
        )
        begin, key = np.unravel_index(int(np.argmax(scores)), scores.shape)
        best[end], begun[end], chosen[end] = scores[begin, key], begins[begin], key
    keys = np.zeros(count, np.int64)
    end = count
    while end > 0:
        keys[begun[end] : end] = chosen[end]
        end = begun[end]
    return keys


def _standard(rows: Floats) -> Floats:
    """Rows less their mean, over their deviation; a row without any stays zero."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    deviation = np.maximum(centred.std(axis=-1, keepdims=True), 1e-9)
    standard: Floats = centred / deviation
    return standard
