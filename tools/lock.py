"""Writes each package's lock: everything it needs, at the versions that are installed.

The installed environment is the truth: it was proved to work together, so a lock is read
off it, not resolved anew. `--check` writes nothing and fails when a lock is out of date.

    python tools/lock.py [--check]
"""

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "protos",
    "runtime",
    "client",
    "mesh",
    "audio",
    *sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("services/*/pyproject.toml")),
)
LOCAL = {f"chorale-{Path(package).name}": package for package in PACKAGES}
SOURCE_ONLY = {"madmom"}  # built here, against the numpy that is installed: never from a cache
# Asked for by a package that never needs it in our use of it (docs/decisions/0003).
UNUSED = {"torchaudio", "tensorflow", "tensorflow-macos", "coremltools", "tflite-runtime"}
# Extras that no lock has: who wants one installs it (services/mastering/pyproject.toml says why).
UNLOCKED_EXTRAS = {("services/mastering", "aac")}
HEADER = "# Written by `make lock` from what is installed. Install with --no-deps.\n"


def main() -> None:
    locks = {ROOT / "requirements-dev.lock": _lines(_dev_requirements())}
    for package in PACKAGES:
        names = _lines(_declared(package))
        locks[ROOT / package / "requirements.lock"] = names
    stale = [path for path, lines in locks.items() if _write(path, lines, "--check" in sys.argv)]
    if stale:
        listed = "\n  ".join(str(path.relative_to(ROOT)) for path in stale)
        raise SystemExit(f"These locks are out of date; run `make lock`:\n  {listed}")


def _declared(package: str) -> Iterable[Requirement]:
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    extras = [
        group
        for extra, group in project.get("optional-dependencies", {}).items()
        if (package, extra) not in UNLOCKED_EXTRAS
    ]
    return [Requirement(text) for group in (project["dependencies"], *extras) for text in group]


def _dev_requirements() -> Iterable[Requirement]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [Requirement(text) for group in groups.values() for text in group]


def _lines(requirements: Iterable[Requirement]) -> list[str]:
    found: dict[str, str] = {}
    for requirement in requirements:
        _walk(requirement, "", found)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _walk(requirement: Requirement, extra: str, found: dict[str, str]) -> None:
    name = canonicalize_name(requirement.name)
    if name in UNUSED or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
        return
    if name in LOCAL:
        for inner in _declared(LOCAL[name]):
            _walk(inner, "", found)
        return
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        raise SystemExit(f"{name} is declared and not installed; run `make setup`.") from None
    seen = name in found
    found[name] = installed.version.partition("+")[0]  # 2.13.0+cpu is 2.13.0, built for a CPU
    for wanted_extra in requirement.extras or ([] if seen else [""]):
        for text in installed.requires or []:
            _walk(Requirement(text), wanted_extra, found)


def _write(path: Path, lines: list[str], check: bool) -> bool:
    """Writes the lock, and its source-only twin; says whether it was out of date."""
    stale = False
    for suffix, wanted in (
        ("", [line for line in lines if line.split("==")[0] not in SOURCE_ONLY]),
        ("-source", [line for line in lines if line.split("==")[0] in SOURCE_ONLY]),
    ):
        target = path.with_name(path.stem + suffix + path.suffix)
        text = HEADER + "".join(f"{line}\n" for line in wanted) if wanted else None
        if (target.read_text() if target.exists() else None) == text:
            continue
        stale = True
        if not check and text is None:
            target.unlink()
        elif not check and text is not None:
            target.write_text(text)
    return stale and check


if __name__ == "__main__":
    main()
