"""Beats against music with human annotations: mir_eval's measures, and floors that only rise.

On the material as of this version: F .83, tempo Acc1 .71, Acc2 .89. For
comparison on the same pieces: librosa F .61, CMLt .44, AMLt .67, Acc1 .46, Acc2 .71; madmom F .77.
"""

from pathlib import Path

import mir_eval  # type: ignore[import-untyped]
import numpy as np
import pytest
import soxr
from chorale_analysis.beats import track_beats
from chorale_analysis.onsets import OnsetListener
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.spectra import RATE_HZ
from material import Piece, pieces

pytestmark = pytest.mark.xdist_group("beats")  # what is heard is heard once

FLOORS = {"F": 0.82, "CMLt": 0.68, "AMLt": 0.78, "Acc1": 0.75, "Acc2": 0.88}

# Confidence must mean something: of the pieces whose tempo it calls surer than even, the beats are
# right (at some metrical level) far more often than of the others.
SURE_AML_FLOOR = 0.70


def tracked(piece: Piece) -> Rhythm:
    """The beats that the engine hears in a piece."""
    samples, rate_hz = piece.sound()
    mono = samples @ np.full(samples.shape[1], 1.0 / samples.shape[1], np.float32)
    sound = soxr.resample(mono, rate_hz, RATE_HZ, "HQ")
    listener = OnsetListener()
    for start in range(0, len(sound), 1 << 16):
        listener.push(sound[start : start + (1 << 16)])
    return track_beats(listener.finish(), len(sound) / RATE_HZ, RhythmSettings())


@pytest.fixture(scope="module")
def heard(testdata: Path) -> list[tuple[Piece, Rhythm]]:
    """Every piece with beats or a tempo, and what the engine hears."""
    known = [
        piece
        for piece in pieces(testdata)
        if len(piece.truth.get("beats", [])) > 3
        or (piece.truth.get("tempo_bpm") and "tempo" in (piece.truth.get("tasks") or []))
    ]
    return [(piece, tracked(piece)) for piece in known]


def times(rhythm: Rhythm) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Where the beats are."""
    return np.array([beat.seconds for beat in rhythm.beats])


def measures(piece: Piece, rhythm: Rhythm) -> dict[str, float]:
    """The measures of one piece, those that apply."""
    found: dict[str, float] = {}
    reference = np.array([beat[0] for beat in piece.truth.get("beats", [])])
    if len(reference) > 3:
        estimated = times(rhythm)
        found["F"] = mir_eval.beat.f_measure(reference, estimated) if len(estimated) else 0.0
        continuity = (0.0,) * 4
        if len(estimated) > 2:
            continuity = mir_eval.beat.continuity(reference, estimated)
        found["CMLt"], found["AMLt"] = continuity[1], continuity[3]
    if piece.truth.get("tempo_bpm"):
        right = piece.truth.get("tempo_values") or [piece.truth["tempo_bpm"]]
        ratios = np.array([rhythm.bpm / bpm for bpm in right])
        factors = np.array([1.0 / 3.0, 0.5, 1.0, 2.0, 3.0])
        found["Acc1"] = float((np.abs(ratios - 1.0) <= 0.04).any())
        found["Acc2"] = float((np.abs(ratios[:, None] / factors - 1.0) <= 0.04).any())
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # mir_eval's, of pieces without any beat found
def test_beats_are_where_people_hear_them(heard: list[tuple[Piece, Rhythm]]) -> None:
    """Every mean is at least its floor; the floors are over the stock library's."""
    rows = [measures(piece, rhythm) for piece, rhythm in heard]
    means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in FLOORS}
    assert len(rows) >= 28
    assert {name: mean for name, mean in means.items() if mean < FLOORS[name]} == {}, means


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_confidence_tells_right_from_wrong(heard: list[tuple[Piece, Rhythm]]) -> None:
    """Where the engine is sure it is right more often than where it is not."""
    rows = [(rhythm.bpm_confidence, measures(piece, rhythm)) for piece, rhythm in heard]
    sure = [row["AMLt"] for confidence, row in rows if confidence > 0.5 and "AMLt" in row]
    unsure = [row["AMLt"] for confidence, row in rows if confidence <= 0.5 and "AMLt" in row]
    assert np.mean(sure) >= SURE_AML_FLOOR
    assert np.mean(sure) > np.mean(unsure) + 0.2
