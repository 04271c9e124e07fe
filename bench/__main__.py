"""Runs every benchmark, or those named: `python -m bench [NAME...]`; 1 when a goal is missed."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    known = sorted(path.stem for path in HERE.glob("*_*.py") if not path.stem.startswith("_"))
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(
            f"There is no benchmark {', '.join(unknown)}; there are: {', '.join(known)}"
        )
    missed = []
    for name in names or known:
        print(f"== {name}", flush=True)
        # A process of its own each: no benchmark measures what another left behind.
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode:
            missed.append(name)
    if missed:
        print("missed: " + ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
