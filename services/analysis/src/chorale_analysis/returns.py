"""How beats return: how alike what sounds is to what sounded so many beats before."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chorale_analysis.heard_beats import PARTS, steps
from chorale_analysis.onsets import Floats, Onsets

LAGS = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Returns:
    """By lag in beats, in deviations: how alike onsets, notes and changes of harmony are."""

    rhythm: Mapping[int, float]
    notes: Mapping[int, float]
    changes: Mapping[int, float]


def returns(heard: Onsets, seconds: Floats, classes: Floats, changing: Floats) -> Returns:
    """How beats return that begin at these times."""
    kinds = [_within(kind, seconds) for kind in
             (np.clip(heard.strength, -1.0, 4.0), heard.bass, heard.treble)]  # fmt: skip
    sounding = classes - classes.mean(axis=0)
    sounding /= np.sqrt((sounding**2).sum(axis=1).mean()) + 1e-6
    change = ((changing - changing.mean()) / (changing.std() + 1e-9))[:, None]
    return Returns(
        {lag: float(np.mean([_alike(one, lag, PARTS) for one in kinds])) for lag in LAGS},
        {lag: _alike(sounding, lag, 1) for lag in LAGS},
        {lag: _alike(change, lag, 1) for lag in LAGS},
    )


def _within(values: Floats, seconds: Floats) -> Floats:
    """Values at even steps of every beat, in deviations from what is usual at that step."""
    lengths = np.append(np.diff(seconds), np.median(np.diff(seconds)))
    found = steps(values, seconds, lengths)
    standard: Floats = (found - found.mean(axis=0)) / (found.std() + 1e-6)
    return standard


def _alike(rows: Floats, lag: int, points: int) -> float:
    if len(rows) <= lag + 4:
        return 0.0
    return float((rows[:-lag] * rows[lag:]).sum(axis=1).mean() / points)


def of_pulse(found: Returns) -> dict[str, float]:
    """What returns of beats tell of how fast they are."""
    rhythm, notes, changes = found.rhythm, found.notes, found.changes
    return {
        "rhythm1": rhythm[1],
        "rhythm2": rhythm[2] - rhythm[1],
        "rhythm3": rhythm[3] - rhythm[1],
        "notes1": notes[1],
        "notes2": notes[2] - notes[1],
        "changes2": changes[2] - changes[1],
    }


def of_bars(found: Returns, length: int) -> dict[str, float]:
    """What returns of beats tell of bars of this length: 2, 3 or 4, or others as far as known."""
    features: dict[str, float] = {}
    for name, by in (
        ("rhythm", found.rhythm),
        ("notes", found.notes),
        ("changes", found.changes),
    ):
        usual = (by[2] + by[3] + by[4]) / 3.0
        longer = (by[4] + by[6] + by[8]) / 3.0
        features |= {
            f"{name}_bar": by.get(length, usual) - usual,
            f"{name}_bars": by.get(2 * length, longer) - longer,
            f"{name}_by3": (by[3] - 0.5 * (by[2] + by[4])) * (length == 3),
            f"{name}_by6": (by[6] - 0.5 * (by[4] + by[8])) * (length == 3),
            f"{name}_by4": (by[4] - by[2]) * (length == 4),
            f"{name}_by2": (by[4] - by[2]) * (length == 2),
            f"{name}_by8": (by[8] - by[4]) * (length == 4),
        }
    return features
