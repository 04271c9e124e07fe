"""How right the engine is that listens while it plays, beside what it is when it may look ahead.

    python -m bench.analysis_live_accuracy [--pieces PART_OF_NAME]

Means over every piece with annotations, of the whole that ends a stream. Exits 1 when one falls
under what was reached before. Bars are not told live.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "services" / "analysis" / "tests")]
from analysis_measures import WISHES, Scores, chance_error, score, wished  # noqa: E402
from chorale_analysis.harmony import ChordSettings, Harmony  # noqa: E402
from chorale_analysis.live.ear import Ear  # noqa: E402
from chorale_analysis.live.heard import BEATS, CHORDS, KEY, Wanted  # noqa: E402
from chorale_analysis.rhythm import RhythmSettings  # noqa: E402
from chorale_analysis.wishes import Finding  # noqa: E402
from material import Piece, pieces  # noqa: E402

MATERIAL = ROOT.parent / "shared" / "testdata"
FEATURES = (BEATS, KEY, CHORDS)
FLOORS = {"beats F": 0.58, "tempo Acc1": 0.55, "key MIREX": 0.90, "chords majmin": 0.74}
_BLOCK_FRAMES = 1 << 15


def heard(piece: Piece) -> dict[str, Finding]:
    """What an ear says of all of a piece once it has ended."""
    samples, rate_hz = piece.sound()
    chords = ChordSettings()
    ear = Ear(Wanted(rate_hz, samples.shape[1], frozenset(FEATURES), RhythmSettings(), chords))
    for start in range(0, len(samples), _BLOCK_FRAMES):
        ear.push(samples[start : start + _BLOCK_FRAMES])
    whole = ear.finish()
    assert whole.rhythm is not None
    assert whole.key is not None
    assert whole.chords is not None
    harmony = Harmony(whole.chords, chords.vocabulary)
    return {BEATS: whole.rhythm, KEY: whole.key, CHORDS: harmony}


def main() -> int:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pieces", default="")
    part = parser.parse_args().pieces
    scores = Scores()
    for piece in pieces(MATERIAL):
        asked = wished(piece, {name: WISHES[name] for name in FEATURES})
        if asked and part in piece.name:
            found = heard(piece)
            score(piece, {name: found[name] for name in asked}, scores)
            print(f"  {piece.name}", flush=True)
    if not scores.means:
        print(f"NOT MEASURED: the test material at {MATERIAL} is absent")
        return 0
    for name, mean in scores.means.items():
        if name in FLOORS:
            print(f"{name:16}{mean:.3f}  (at least {FLOORS[name]:.2f})")
    print("expected calibration error (that of chances just as told, by so few pieces)")
    for name, error in scores.calibration.items():
        print(f"{name:16}{error:.3f}  ({chance_error(scores.claims[name]):.3f})")
    is_under = any(scores.means.get(name, least) < least for name, least in FLOORS.items())
    return int(is_under and not part)


if __name__ == "__main__":
    sys.exit(main())
