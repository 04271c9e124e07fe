"""Patterns of real scores: bars of one piece are alike, bars of different pieces are not."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

layouts = pytest.importorskip(
    "chorale_fingerprint.layouts", reason="NOT MEASURED: fingerprint is not set up"
)

pytestmark = pytest.mark.xdist_group("patterns")

STEPS = 16
VOICES = ("kick", "snare", "hihat")
# The nearest of all other bars is one of the same piece: measured 1.000 of 170.
NEAREST_FLOOR = 0.97
Vector = npt.NDArray[np.float64]


def _bars(truth: dict[str, Any]) -> list[tuple[float, float]]:
    downbeats = [seconds for seconds, position in truth["beats"] if position == 1]
    return list(pairwise(downbeats))


def drum_vector(truth: dict[str, Any], start: float, end: float) -> Vector:
    """The 60 numbers of `layouts/drums/1` for one bar."""
    grids = {voice: np.zeros(STEPS) for voice in VOICES}
    late: list[list[float]] = [[] for _ in range(6)]
    for seconds, label in truth["drums"]:
        step = (seconds - start) / (end - start) * STEPS
        if not -0.5 <= step < STEPS - 0.5:
            continue
        nearest = round(step)
        if label in grids:
            grids[label][nearest] = 1.0
        late[nearest * 6 // STEPS].append(step - nearest)
    densities = [grid.mean() for grid in grids.values()]
    struck = np.maximum.reduce(list(grids.values()))
    weak = struck[1::2].sum()
    syncopated = sum(struck[i] and not struck[(i + 1) % STEPS] for i in range(1, STEPS, 2))
    tempo = 60 * 4 / (end - start) / 200
    groove = [float(np.mean(part)) if part else 0.0 for part in late]
    syncopation = syncopated / weak if weak else 0.0
    return np.array(
        [
            *densities,
            syncopation,
            *np.concatenate(list(grids.values())),
            min(1.0, tempo),
            0.0,
            *groove,
        ]
    )


@pytest.fixture(scope="module", params=["layouts/drums/1", "layouts/drums/2"])
def bars(
    testdata: Path, request: pytest.FixtureRequest
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Each bar with drums in it: of which piece, and its direction."""
    layout = layouts.LAYOUTS[request.param]
    found = []
    for file in sorted((testdata / "scores").glob("*.json")):
        truth = json.loads(file.read_text())
        if not truth.get("drums"):
            continue
        for start, end in _bars(truth)[:40]:
            vector = drum_vector(truth, start, end)
            if vector[:3].any():
                found.append((file.stem, layout.unit(vector.tolist())))
    return found


def test_the_same_bar_is_the_same(bars: list[tuple[str, npt.NDArray[np.float32]]]) -> None:
    """A bar is as like itself as can be."""
    assert bars
    assert all(float(unit @ unit) == pytest.approx(1.0, abs=1e-6) for _, unit in bars)


def test_bars_of_one_piece_find_each_other(
    bars: list[tuple[str, npt.NDArray[np.float32]]],
) -> None:
    """The nearest other bar is of the same piece; the mean likeness within is over that across."""
    pieces = np.array([piece for piece, _ in bars])
    units = np.stack([unit for _, unit in bars])
    likeness = units @ units.T
    same = pieces[:, None] == pieces[None, :]
    itself = np.eye(len(bars), dtype=bool)
    within, across = likeness[same & ~itself].mean(), likeness[~same].mean()
    likeness[itself] = -1
    nearest = (pieces[likeness.argmax(axis=1)] == pieces).mean()
    assert len(set(pieces)) >= 5
    assert nearest >= NEAREST_FLOOR, f"{nearest:.3f} of {len(bars)} bars"
    assert within > across + 0.1


@pytest.mark.parametrize("bars", ["layouts/drums/2"], indirect=True)
def test_in_the_newer_layout_other_pieces_are_little_alike(
    bars: list[tuple[str, npt.NDArray[np.float32]]],
) -> None:
    """Likeness of bars of different pieces is low on average: 0.13; in the older one 0.52."""
    pieces = np.array([piece for piece, _ in bars])
    units = np.stack([unit for _, unit in bars])
    others = (units @ units.T)[pieces[:, None] != pieces[None, :]]
    assert others.mean() < 0.2
