"""What can be told of beats, and of bars over them: the numbers by which they are compared."""

from dataclasses import dataclass

import numpy as np

from chorale_analysis import heard_beats, pulse_network
from chorale_analysis.heard_beats import Integers, changes, classes_between, near, tonality
from chorale_analysis.meter import way
from chorale_analysis.onsets import HOPS_PER_SECOND, Floats, Onsets
from chorale_analysis.pulse_network import PulseNetwork, Reading
from chorale_analysis.returns import Returns, of_bars, of_pulse, returns

LEAST_BEATS = 8  # fewer say nothing of bars
_WIDER_SECONDS = 0.04
_ONSET, _NEAR_HOPS = 1.0, 5  # deviations that an onset stands out; how near to a beat it belongs
_LEAST_READ = -5.0  # nats: less likely is as good as not
_USUAL_BPM, _USUAL_BAR_SECONDS = 100.0, 2.2

Features = dict[str, float]


@dataclass(frozen=True)
class Pulse:
    """Beats, and all of what is heard at them that bars are found by."""

    hops: Integers
    seconds: Floats
    features: Features
    first: Floats  # the odds of each to be the first of a bar
    reading: Reading
    changing: Floats
    deep: Floats
    high: Floats
    strength: Floats
    returns: Returns

    @property
    def bpm(self) -> float:
        """The tempo."""
        return float(60.0 / np.median(np.diff(self.seconds)))


@dataclass(frozen=True)
class Barred:
    """Bars of one length over a pulse."""

    pulse: Pulse
    length: int
    places: Integers  # of every beat in its bar, counted from 0
    features: Features


def pulse(
    heard: Onsets,
    hops: Integers,
    seconds: Floats,
    activation: Floats,
    alike: float,
    network: PulseNetwork = pulse_network.LEARNED,
) -> Pulse:
    """What can be told of beats at these hops."""
    reading = network.read(heard_beats.rows(heard, seconds))
    deep, high = heard.bass, heard.treble
    classes = classes_between(heard, seconds)
    changing = changes(classes, 1)
    halves = seconds[:-1] + 0.5 * np.diff(seconds)
    returning = returns(heard, seconds, classes, changing)
    features = {
        **_divisions(heard, seconds),
        **_onsets(heard, hops),
        **of_pulse(returning),
        "tonal": tonality(classes),
        "al": alike,
        "even": _unevenness(seconds),
        "act": float(activation[hops].mean()),
        "deep": float(near(deep, seconds).mean()),
        "high": float(near(high, seconds).mean()),
        "hd": float(near(deep, halves, 0.02).mean()),
        "hh": float(near(high, halves, 0.02).mean()),
        "altd": _alternation(near(deep, seconds)),
        "alth": _alternation(near(high, seconds)),
        "alts": _alternation(near(heard.strength, seconds)),
        "change": float(changing.mean()),
        "kurt": float((changing**2).mean() / (changing.mean() ** 2 + 1e-6)),
        "read_beat": max(_LEAST_READ, reading.is_beat),
        "read_fast": max(_LEAST_READ, reading.chance_of("too fast")),
        "read_slow": max(_LEAST_READ, reading.chance_of("too slow")),
    }
    features |= _together(features)
    return Pulse(
        hops,
        seconds,
        features,
        reading.first,
        reading,
        changing,
        near(deep, seconds, _WIDER_SECONDS),
        near(high, seconds, _WIDER_SECONDS),
        near(heard.strength, seconds, _WIDER_SECONDS),
        returning,
    )


def _together(of: Features) -> Features:
    """What counts of two things together: tempo, density, change of harmony and tone."""
    by_second = of["lper"] + of["l"] * float(np.log(2.0))
    return {
        "lper_2": of["lper"] ** 2,
        "l_lper": of["l"] * of["lper"],
        "by_second": by_second,
        "by_second_2": by_second**2,
        "slow": min(0.0, of["l"]) ** 2,
        "l_change": of["l"] * of["change"],
        "l_tonal": of["l"] * of["tonal"],
        "l2_tonal": of["l2"] * of["tonal"],
    }


def _divisions(heard: Onsets, seconds: Floats) -> Features:
    """How fast beats go, and how much begins on them and between."""
    lengths = np.diff(seconds)

    def at(*shares: float) -> float:
        found = [near(heard.strength, seconds[:-1] + s * lengths, 0.02) for s in shares]
        return float(np.clip(found, -1.0, 4.0).mean())

    octaves = float(np.log2(60.0 / np.median(lengths) / _USUAL_BPM))
    half, third = at(0.5), at(1.0 / 3.0, 2.0 / 3.0)
    return {
        "l": octaves,
        "l2": octaves**2,
        "l4": abs(octaves) ** 3,
        "on": float(np.clip(near(np.clip(heard.strength, -1.0, 4.0), seconds), -1.0, 4.0).mean()),
        "half": half,
        "third": third,
        "quart": at(0.25, 0.75),
        "sixth": at(1.0 / 6.0, 5.0 / 6.0),
        "tern": third - half,
    }


def _onsets(heard: Onsets, hops: Integers) -> Features:
    """How many onsets there are to a beat, and how much of them is on beats."""
    before, here, after = heard.strength[:-2], heard.strength[1:-1], heard.strength[2:]
    summits = np.flatnonzero((here > before) & (here >= after) & (here > _ONSET)) + 1
    inside = summits[(summits >= hops[0]) & (summits <= hops[-1])]
    share = 1.0
    if len(inside):
        right = np.clip(np.searchsorted(hops, inside), 1, len(hops) - 1)
        apart = np.minimum(np.abs(inside - hops[right - 1]), np.abs(hops[right] - inside))
        weight = np.clip(heard.strength[inside], 0.0, 4.0)
        share = float((weight * (apart <= _NEAR_HOPS)).sum() / weight.sum())
    density = len(inside) / len(hops)
    return {"per": min(density, 8.0), "lper": float(np.log(density + 0.1)), "cov": share}


def _unevenness(seconds: Floats) -> float:
    lengths = np.diff(seconds)
    return min(0.3, float(np.median(np.abs(np.diff(np.log(lengths))))) if len(lengths) > 2 else 0.3)


def _alternation(values: Floats) -> float:
    return abs(float(np.mean(values[::2]) - np.mean(values[1::2])))


def barred(heard: Onsets, over: Pulse, length: int) -> Barred:
    """The likeliest bars of this length over a pulse, and what can be told of them."""
    places, gain = way(over.first, length)
    seconds = float(np.median(np.diff(over.seconds))) * length
    octaves = float(np.log2(seconds / _USUAL_BAR_SECONDS))
    repeats = _repetition(heard.strength, round(seconds * HOPS_PER_SECOND))
    of = {number: float(length == number) for number in (2, 3, 4)}
    ternary, tempo = over.features["tern"], over.features["l"]
    harmonic = _lead(over.changing, places == 0)
    third = places == 2 if length == 4 else np.zeros(len(places), bool)
    others = places > 0
    steps = np.diff(places)
    first = _odds_at(over.first, places == 0)
    features = {
        **over.features,
        **{f"L{number}": here for number, here in of.items()},
        "gain": gain,
        **{f"gain{number}": gain * here for number, here in of.items()},
        "lb": octaves,
        "lb2": octaves**2,
        "acb": repeats,
        "acb3": repeats * of[3],
        "acb4": repeats * of[4],
        **{f"tern{number}": ternary * here for number, here in of.items()},
        **{f"l{number}_": tempo * here for number, here in of.items()},
        "dch": harmonic,
        "dd": _lead(over.deep, places == 0),
        "dh": _lead(over.high, places == 0),
        "ds": _lead(over.strength, places == 0),
        "mid": _lead(over.high[others], third[others]),
        "midd": _lead(over.deep[others], third[others]),
        "back": _lead(over.high, places % 2 == 1) if length in (2, 4) else 0.0,
        "dch4": harmonic * of[4],
        "dch2": harmonic * of[2],
        **of_bars(over.returns, length),
        "read": max(_LEAST_READ, over.reading.in_bars(length)),
        "uneven": float(np.mean((steps != 1) & (steps != 1 - length))) if len(steps) else 0.0,
        "first": first,
        **{f"first{number}": first * here for number, here in of.items()},
        "third_first": _odds_at(over.first, third),
        **{f"tonal{number}": over.features["tonal"] * here for number, here in of.items()},
        "short_bar": min(0.0, octaves) ** 2,
        "per2": over.features["lper"] * of[2],
        "per3": over.features["lper"] * of[3],
    }
    return Barred(over, length, places, features)


def _odds_at(odds: Floats, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    """The mean odds of the chosen beats to be first, within four nats."""
    return float(np.clip(odds[chosen].mean(), -4.0, 4.0)) if chosen.any() else 0.0


def _lead(values: Floats, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    """How much more there is at the chosen beats than at the rest."""
    if not chosen.any() or chosen.all():
        return 0.0
    return float(values[chosen].mean() - values[~chosen].mean())


def _repetition(strength: Floats, lag: int) -> float:
    """How alike onsets are to those a bar later."""
    if lag >= len(strength) - 20:
        return 0.0
    clipped = np.clip(strength, -3.0, 4.0)
    one, other = clipped[:-lag], clipped[lag:]
    if one.std() < 1e-9 or other.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
