"""How right each engine of analysis is on the test material: one table, as mir_eval measures.

    python -m bench.analysis_accuracy [--engines chorale,auto,madmom] [--pieces PART_OF_NAME]

Means over every piece to which a measure applies. Without `--engines` every engine is tried that is
here; `madmom`, and `auto` where madmom is, cost about half a CPU second for each second of sound.
Beside them stand librosa's stock answers, as kept with the material. Exits 1 when `chorale` or
`auto` misses what it must reach.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "services" / "analysis" / "tests")]
from analysis_measures import WISHES, Scores, chance_error, heard, score, wished  # noqa: E402
from chorale_analysis import engines  # noqa: E402
from material import pieces  # noqa: E402

MATERIAL = ROOT.parent / "shared" / "testdata"
# What each must reach.
MUST = {
    "chorale": {
        "beats F": 0.75, "downbeats F": 0.65, "tempo Acc1": 0.65, "tempo Acc2": 0.88, "meter": 0.80,
        "key MIREX": 0.85, "chords majmin": 0.72, "sections F at 3 s": 0.50,
    },
    "auto": {
        "beats F": 0.80, "downbeats F": 0.75, "tempo Acc1": 0.72, "tempo Acc2": 0.90, "meter": 0.80,
        "key MIREX": 0.89, "chords majmin": 0.79, "sections F at 3 s": 0.50,
    },
}  # fmt: skip
# Stock librosa 0.11 on the same pieces, as kept with the material.
LIBROSA = {
    "beats F": 0.61, "downbeats F": 0.37, "tempo Acc1": 0.46, "tempo Acc2": 0.71,
    "key MIREX": 0.77, "chords majmin": 0.58, "sections F at 3 s": 0.35,
}  # fmt: skip
CALIBRATION_MOST = 0.10
KNOWS = {
    "chorale": tuple(WISHES),
    "auto": tuple(WISHES),
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


def present() -> list[str]:
    """The engines that can work here, ours first."""
    able = {one.name for one in engines.known(str(MATERIAL / "checkpoints")) if one.is_present}
    return [name for name in KNOWS if name in able or name == engines.AUTO]


def missed(name: str, means: dict[str, float]) -> list[str]:
    """The measures in which an engine does not reach what it must."""
    must = MUST.get(name, {})
    return [measure for measure, least in must.items() if means.get(measure, least) < least]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="")
    parser.add_argument("--pieces", default="")
    options = parser.parse_args()
    names = options.engines.split(",") if options.engines else present()
    found = {name: measured(name, options.pieces) for name in names}
    print(f"\n{'measure':20}{'must':>7}{'(auto)':>8}{'librosa':>9}" + _cells("{:>9}", found))
    for measure in dict.fromkeys(n for scores in found.values() for n in scores.means):
        stock = (*(MUST[one].get(measure) for one in ("chorale", "auto")), LIBROSA.get(measure))
        told = [f"{value:.2f}" if value else "" for value in stock]
        means = [scores.means.get(measure) for scores in found.values()]
        print(f"{measure:20}{told[0]:>7}{told[1]:>8}{told[2]:>9}" + _cells("{:>9}", means))
    print("\nexpected calibration error (that of chances just as told, by so few pieces)")
    for claim in dict.fromkeys(n for scores in found.values() for n in scores.calibration):
        errors = [
            f"{scores.calibration[claim]:.3f} ({chance_error(scores.claims[claim]):.3f})"
            if claim in scores.calibration
            else ""
            for scores in found.values()
        ]
        print(f"{claim:20}{CALIBRATION_MOST:7}" + _cells("{:>15}", errors))
    misses = {name: missed(name, scores.means) for name, scores in found.items()}
    for name, measures in misses.items():
        if measures:
            print(f"missed by {name}: " + ", ".join(measures))
    return 1 if any(misses.values()) else 0


def _cells(form: str, values: Iterable[object]) -> str:
    """Values in columns, numbers by three places, an empty column for none."""
    told = ["" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
    return "".join(form.format(one) for one in told)


if __name__ == "__main__":
    sys.exit(main())
