"""Which of several pulses is the beat, and how its bars go: by weights learned from music."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chorale_analysis.learned import ALONE, WITH_OPINION, Judgement
from chorale_analysis.meter import changing_way, is_compound
from chorale_analysis.onsets import Floats, Onsets
from chorale_analysis.opinions import Opinion, of_way
from chorale_analysis.pulses import Barred, Pulse, barred
from chorale_analysis.rhythm import Meter, RhythmSettings

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
    heard: Onsets, pulses: Sequence[Pulse], lengths: tuple[int, ...] = ()
) -> list[Barred]:
    """Every pulse with bars of all these lengths, or the usual ones."""
    return [barred(heard, one, length) for one in pulses for length in lengths or USUAL_BARS]


def opined(
    heard: Onsets, pulses: Sequence[Pulse], chosen: Barred, asked: RhythmSettings, opinion: Opinion
) -> list[Barred]:
    """All ways to hear these at the tempo that we chose, and what a network says of them.

    Its opinion moves beats and bar lines, not the tempo: of that it knows less.
    """
    said = [
        replace(one, first=one.first + opinion.first(one.seconds))
        for one in (chosen.pulse, *pulses)
        if one is chosen.pulse or abs(one.bpm / chosen.pulse.bpm - 1.0) <= _SAME_TEMPO
    ]
    return [
        replace(one, features={**one.features, **of_way(opinion, one)})
        for one in ways_over(heard, said, asked.beats_per_bar)
    ]


def choose(
    heard: Onsets,
    pulses: Sequence[Pulse],
    asked: RhythmSettings,
    opinion: Opinion | None = None,
    more: Sequence[Pulse] = (),
) -> Choice:
    """The likeliest of all pulses with bars of all lengths asked for, or the usual ones.

    With a network's opinion, pulses that are heard by its help may take the place of that chosen.
    """
    ways = ways_over(heard, pulses, asked.beats_per_bar)
    scores = scores_of(ways, asked.bpm_hint)
    chances = chances_of(ways, scores)
    tempo, by = chances.tempo, judgement(opinion)
    if opinion:
        alone = ways[int(np.argmax(scores))]
        besides = [one for one in (*pulses, *more) if one is not alone.pulse]
        ways = opined(heard, besides, alone, asked, opinion)
        scores = scores_of(ways, asked.bpm_hint, by)
        chances = chances_of(ways, scores)
    chosen = ways[int(np.argmax(scores))]
    by_length = _measured(chances.by_length, chosen.length, by)
    dotted = is_compound(heard, chosen.pulse.seconds)
    others = [one for one in ways if one.pulse is chosen.pulse and one is not chosen]
    others.sort(key=lambda one: -by_length[one.length])
    if asked.local_meter:
        lengths = asked.beats_per_bar or USUAL_BARS
        chosen = replace(chosen, places=changing_way(chosen.pulse.first, lengths))
    meters = tuple(
        Meter(
            one.length,
            by_length[one.length],
            tuple(one.pulse.seconds[one.places == 0].tolist()),
            dotted,
        )
        for one in [chosen, *others]
    )
    return Choice(chosen, meters, tempo)


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


def scores_of(ways: Sequence[Barred], bpm_hint: float = 0.0, by: Judgement = ALONE) -> Floats:
    """How much each way has for it, in nats."""
    return np.array([_score(one, by, bpm_hint) for one in ways])


def _score(way: Barred, by: Judgement, bpm_hint: float) -> float:
    score = sum(weight * way.features[name] for name, weight in by.choice.items())
    score += by.taste_weight * by.taste.score(way.pulse.features)
    if bpm_hint:
        score -= _HINT_COST * float(np.log2(way.pulse.bpm / bpm_hint)) ** 2
    return float(score)
