"""Writes the golden files anew: what the chart renders for each of deploy/helm/chorale/ci.

python tools/chart.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import rendered_chart


def main() -> None:
    """Renders every case; a case that is gone takes its golden file along."""
    rendered_chart.GOLDEN.mkdir(exist_ok=True)
    for stale in rendered_chart.GOLDEN.glob("*.yaml"):
        stale.unlink()
    for name in rendered_chart.CASES:
        text = rendered_chart.golden(rendered_chart.case(name))
        (rendered_chart.GOLDEN / f"{name}.yaml").write_text(text)


if __name__ == "__main__":
    main()
