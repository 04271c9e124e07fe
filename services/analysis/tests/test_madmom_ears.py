"""The engine `madmom` against madmom itself."""

import importlib.util
from typing import Any

import numpy as np
import pytest
from chorale_analysis.madmom_shims import madmom, quiet
from chorale_analysis.rhythm import NO_RHYTHM, RhythmSettings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("madmom") is None, reason="NOT MEASURED: madmom is not installed"
)

FRAMES_PER_SECOND = 100


def activations(seed: int, beats_per_bar: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """What its network might say of 20 s of bars, with noise."""
    draw = np.random.default_rng(seed)
    said = 0.03 * draw.random((20 * FRAMES_PER_SECOND, 2))
    for number, frame in enumerate(np.arange(30, len(said) - 10, 60000 // 1200)):
        said[frame + draw.integers(-1, 2), 0 if number % beats_per_bar else 1] = 0.9
    return said


class _Ragged:
    """numpy, for code that makes arrays of rows that differ in length."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def asarray(self, rows: Any, *arguments: Any) -> Any:
        """An array; one of objects where rows differ."""
        try:
            return np.asarray(rows, *arguments)
        except ValueError:
            return np.array([tuple(row) for row in rows], dtype=object)


@pytest.mark.parametrize(("seed", "beats_per_bar"), [(1, 4), (2, 3), (3, 4)])
def test_beats_are_those_of_its_own_program(
    monkeypatch: pytest.MonkeyPatch, seed: int, beats_per_bar: int
) -> None:
    """The same beats at the same frames and places as `DBNDownBeatTracker` finds."""
    from chorale_analysis.madmom_ears import rhythm_of

    said = activations(seed, beats_per_bar)
    features = madmom("features.downbeats")
    monkeypatch.setattr(features, "np", _Ragged())
    with quiet():
        own = features.DBNDownBeatTrackingProcessor(beats_per_bar=[3, 4], fps=FRAMES_PER_SECOND)(
            said
        )
        found = rhythm_of(said, 20.0, RhythmSettings())
    assert np.allclose([beat.seconds for beat in found.beats], own[:, 0], atol=1e-9)
    assert [beat.position for beat in found.beats] == own[:, 1].astype(int).tolist()
    assert found.meters[0].beats_per_bar == beats_per_bar


def test_what_its_network_does_not_hear_has_no_beats() -> None:
    """Activations that say nothing make no rhythm, and certainly no tempo."""
    from chorale_analysis.madmom_ears import rhythm_of

    assert rhythm_of(np.full((500, 2), 0.01), 5.0, RhythmSettings()) == NO_RHYTHM
