"""Chords of stretches of frames that share one, and how sure each is."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from chorale_analysis import harte
from chorale_analysis.harmony import Alternative, Chord, ChordSettings, Harmony
from chorale_analysis.harte import Label
from chorale_analysis.spectra import Array


def edges(states: npt.NDArray[np.int64]) -> list[int]:
    """Where stretches of one state begin, and the end of the last."""
    return [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]


def harmony(
    labels: Sequence[Label],
    begins: Sequence[int],
    chosen: Sequence[int],
    chances: Iterable[Array],
    frame_seconds: float,
    duration_seconds: float,
    settings: ChordSettings,
) -> Harmony:
    """A chord for each stretch: by its first frame, its label and the chances of all labels."""
    times = [min(begin * frame_seconds, duration_seconds) for begin in begins]
    times[-1] = duration_seconds
    found = []
    for number, (state, likely) in enumerate(zip(chosen, chances, strict=True)):
        here = labels[state]
        order = [int(n) for n in np.argsort(-likely, kind="stable") if n != state]
        others = [(labels[n], float(likely[n])) for n in order[: settings.alternative_count]]
        found.append(
            Chord(
                times[number],
                times[number + 1],
                str(here),
                float(np.clip(likely[state], 0.0, 1.0)),
                tuple(
                    Alternative(str(other), chance, harte.distance(other, here))
                    for other, chance in others
                ),
                harte.note(here.root + here.bass) if here.is_chord and here.bass else "",
            )
        )
    return Harmony(tuple(found), settings.vocabulary)
