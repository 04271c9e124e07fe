"""How right each engine of analysis is on the test material: one table, as mir_eval measures.

    python -m bench.analysis_accuracy [--engines chorale,madmom,beatnet] [--pieces PART_OF_NAME]

Means over every piece to which a measure applies. `madmom` costs about half a CPU second for each
second of sound. Exits 1 when `chorale` misses what it must reach.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "services" / "analysis" / "tests")]
from analysis_measures import WISHES, Scores, heard, score, wished  # noqa: E402
from material import pieces  # noqa: E402

MATERIAL = ROOT.parent / "shared" / "testdata"
# What `chorale` must reach, and the goal of `auto`.
MUST = {
    "beats F": 0.75, "downbeats F": 0.65, "tempo Acc1": 0.65, "tempo Acc2": 0.88, "meter": 0.80,
    "key MIREX": 0.85, "chords majmin": 0.72, "sections F at 3 s": 0.50,
}  # fmt: skip
CALIBRATION_MOST = 0.10
KNOWS = {
    "chorale": tuple(WISHES),
    "madmom": ("beats", "key", "chords"),
    "beatnet": ("beats",),
    "skey": ("key",),
}


def measured(engine: str, part: str) -> Scores:
    """The scores of one engine, a line for each piece on the way."""
    scores = Scores()
    for piece in pieces(MATERIAL):
        wishes = wished(piece, {name: WISHES[name] for name in KNOWS[engine]})
        if wishes and part in piece.name:
            begun = time.process_time()
            score(piece, heard(piece, engine, wishes), scores)
            print(f"  {engine} {piece.name} {time.process_time() - begun:.2f} CPU s", flush=True)
    return scores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="chorale")
    parser.add_argument("--pieces", default="")
    options = parser.parse_args()
    found = {name: measured(name, options.pieces) for name in options.engines.split(",")}
    print(f"\n{'measure':22}{'must':>7}" + "".join(f"{name:>10}" for name in found))
    missed = []
    for name in dict.fromkeys(n for scores in found.values() for n in scores.means):
        must = MUST.get(name)
        cells = "".join(
            f"{scores.means.get(name, float('nan')):10.3f}" for scores in found.values()
        )
        print(f"{name:22}{must if must else '':>7}{cells}")
        ours = found["chorale"].means.get(name) if "chorale" in found else None
        if must and ours is not None and ours < must:
            missed.append(name)
    print("\nexpected calibration error")
    for name in dict.fromkeys(n for scores in found.values() for n in scores.calibration):
        cells = "".join(
            f"{scores.calibration.get(name, float('nan')):10.3f}" for scores in found.values()
        )
        print(f"{name:22}{CALIBRATION_MOST:7}{cells}")
    if missed:
        print("missed by chorale: " + ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
