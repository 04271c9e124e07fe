"""Which of several pulses is the beat, and how its bars go: by weights learned from music."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chorale_analysis.learned import ALONE, WITH_OPINION, Judgement
from chorale_analysis.meter import is_compound
from chorale_analysis.onsets import Floats, Onsets
from chorale_analysis.opinions import Opinion, of_way
from chorale_analysis.pulses import Barred, Pulse, barred
from chorale_analysis.rhythm import Meter

USUAL_BARS = (2, 3, 4)
_HINT_COST = 64.0  # nats per squared octave off a tempo that the caller expects
_SAME_TEMPO = 0.04


@dataclass(frozen=True)
class Choice:
    """The beats and bars chosen, and the chances of what else might have been."""

    chosen: Barred
    meters: tuple[Meter, ...]  # the chosen one first
    tempo_chance: float  # of the chosen tempo, by all ways that have it


def judgement(opinion: Opinion | None) -> Judgement:
    """What was learned for hearing with a network's opinion or without."""
    return WITH_OPINION if opinion else ALONE


def ways_over(
    heard: Onsets, pulses: Sequence[Pulse], lengths: tuple[int, ...], opinion: Opinion | None
) -> list[Barred]:
    """Every pulse with bars of all these lengths, or the usual ones."""
    if opinion:
        pulses = [replace(one, first=one.first + opinion.first(one.seconds)) for one in pulses]
    ways = [barred(heard, one, length) for one in pulses for length in lengths or USUAL_BARS]
    if opinion is None:
        return ways
    return [replace(one, features={**one.features, **of_way(opinion, one)}) for one in ways]


def choose(
    heard: Onsets,
    pulses: Sequence[Pulse],
    lengths: tuple[int, ...],
    bpm_hint: float,
    opinion: Opinion | None = None,
) -> Choice:
    """The likeliest of all pulses with bars of all these lengths, or the usual ones."""
    by = judgement(opinion)
    ways = ways_over(heard, pulses, lengths, opinion)
    scores = np.array([_score(one, by, bpm_hint) for one in ways])
    chances = chances_of(ways, scores)
    chosen = ways[int(np.argmax(scores))]
    by_length = _measured(chances.by_length, chosen.length, by)
    dotted = is_compound(heard, chosen.pulse.seconds)
    over = [one for one in ways if one.pulse is chosen.pulse]
    over.sort(key=lambda one: (one is not chosen, -by_length[one.length]))
    meters = tuple(
        Meter(
            one.length,
            by_length[one.length],
            tuple(one.pulse.seconds[one.places == 0].tolist()),
            dotted,
        )
        for one in over
    )
    return Choice(chosen, meters, chances.tempo)


@dataclass(frozen=True)
class Chances:
    """Of the tempo of the best way, and of bar lengths, among all ways that there are."""

    tempo: float
    by_length: Mapping[int, float]


def chances_of(ways: Sequence[Barred], scores: Floats) -> Chances:
    """The chances of tempo and bar lengths, by ways and their scores."""
    weights = np.exp(scores - scores.max())
    chances = weights / weights.sum()
    bpm = ways[int(np.argmax(scores))].pulse.bpm
    same = [abs(one.pulse.bpm / bpm - 1.0) <= _SAME_TEMPO for one in ways]
    by_length: dict[int, float] = {}
    for one, chance in zip(ways, chances, strict=True):
        by_length[one.length] = by_length.get(one.length, 0.0) + float(chance)
    return Chances(float(chances[same].sum()), by_length)


def odds_of(chance: float) -> float:
    """A chance as odds in nats, at most a hundred to one."""
    within = min(max(chance, 0.01), 0.99)
    return float(np.log(within / (1.0 - within)))


def share(odds: float) -> float:
    """Odds in nats as a share in [0, 1]."""
    return float(1.0 / (1.0 + np.exp(-odds)))


def _measured(chances: Mapping[int, float], chosen: int, by: Judgement) -> Mapping[int, float]:
    """Chances of bar lengths, the chosen one as often right as was measured."""
    if len(chances) == 1:
        return chances
    slope, usual = by.chances["meter"]
    right = share(slope * odds_of(chances[chosen]) + usual)
    rest = max(1e-9, 1.0 - chances[chosen])
    shared = {length: (1.0 - right) * chance / rest for length, chance in chances.items()}
    return {**shared, chosen: right}


def _score(way: Barred, by: Judgement, bpm_hint: float) -> float:
    score = sum(weight * way.features[name] for name, weight in by.choice.items())
    score += by.taste_weight * by.taste.score(way.pulse.features)
    if bpm_hint:
        score -= _HINT_COST * float(np.log2(way.pulse.bpm / bpm_hint)) ** 2
    return float(score)
