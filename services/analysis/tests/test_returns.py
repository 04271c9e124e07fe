"""Properties of how beats return."""

import numpy as np
import pytest
from chorale_analysis.onsets import HOPS_PER_SECOND, Onsets
from chorale_analysis.returns import of_bars, returns

BEATS = 48


@pytest.mark.parametrize("length", [2, 3, 4])
def test_bars_return_after_their_length(length: int) -> None:
    """Where every bar repeats, its length returns more than the others do."""
    draw = np.random.default_rng(length)
    seconds = np.linspace(0.5, 0.5 * BEATS, BEATS, dtype=np.float64)
    strength = np.zeros(round((BEATS + 2) * 0.5 * HOPS_PER_SECOND))
    places = np.round(seconds * HOPS_PER_SECOND).astype(int)
    loud = draw.random(length) * 2.0 + np.arange(length)
    strength[places] = np.tile(loud, BEATS)[:BEATS]
    notes = np.tile(draw.random((length, 12)), (BEATS, 1))[:BEATS]
    changing = np.tile(draw.random(length), BEATS)[:BEATS]
    heard = Onsets(strength, strength, strength, strength, notes.astype(np.float32))
    found = returns(heard, seconds, notes, changing)
    for kind in ("rhythm", "notes", "changes"):
        told = {other: of_bars(found, other)[f"{kind}_bar"] for other in (2, 3, 4)}
        longest = told[4] if length == 2 else told[length]  # two bars of 2 are one of 4
        assert longest == pytest.approx(max(told.values()))
