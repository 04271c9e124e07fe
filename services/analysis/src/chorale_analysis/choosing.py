"""Which of several pulses is the beat, and how its bars go: by weights learned from music."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chorale_analysis.learned import CHOICE
from chorale_analysis.meter import is_compound
from chorale_analysis.onsets import Onsets
from chorale_analysis.pulses import Barred, Pulse, barred
from chorale_analysis.rhythm import Meter

USUAL_BARS = (2, 3, 4)
_HINT_COST = 64.0  # nats per squared octave off a tempo that the caller expects
_SAME_TEMPO = 0.04
# How often bars are right that have this chance among those thought of, in nats: measured.
_METER_SLOPE, _METER_ODDS = 1.56, 1.07


@dataclass(frozen=True)
class Choice:
    """The beats and bars chosen, and the chances of what else might have been."""

    chosen: Barred
    meters: tuple[Meter, ...]  # the chosen one first
    tempo_chance: float  # of the chosen tempo, by all ways that have it


def choose(
    heard: Onsets, pulses: Sequence[Pulse], lengths: tuple[int, ...], bpm_hint: float
) -> Choice:
    """The likeliest of all pulses with bars of all these lengths, or the usual ones."""
    ways = [barred(heard, one, length) for one in pulses for length in lengths or USUAL_BARS]
    scores = np.array([_score(one, bpm_hint) for one in ways])
    weights = np.exp(scores - scores.max())
    chances = weights / weights.sum()
    best = int(np.argmax(scores))
    chosen = ways[best]
    by_length: dict[int, float] = {}
    for one, chance in zip(ways, chances, strict=True):
        by_length[one.length] = by_length.get(one.length, 0.0) + float(chance)
    by_length = _measured(by_length, chosen.length)
    bpm = chosen.pulse.bpm
    same = [abs(one.pulse.bpm / bpm - 1.0) <= _SAME_TEMPO for one in ways]
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
    return Choice(chosen, meters, float(chances[same].sum()))


def _measured(chances: dict[int, float], chosen: int) -> dict[int, float]:
    """Chances of bar lengths, the chosen one as often right as was measured."""
    if len(chances) == 1:
        return chances
    within = min(max(chances[chosen], 0.01), 0.99)
    odds = _METER_SLOPE * np.log(within / (1.0 - within)) + _METER_ODDS
    right = float(1.0 / (1.0 + np.exp(-odds)))
    rest = max(1e-9, 1.0 - chances[chosen])
    shared = {length: (1.0 - right) * chance / rest for length, chance in chances.items()}
    return {**shared, chosen: right}


def _score(way: Barred, bpm_hint: float) -> float:
    score = sum(weight * way.features[name] for name, weight in CHOICE.items())
    if bpm_hint:
        score -= _HINT_COST * float(np.log2(way.pulse.bpm / bpm_hint)) ** 2
    return float(score)
