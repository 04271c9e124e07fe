"""The chart, rendered: what the tests of deploy/ read."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy/helm/chorale"
GOLDEN = ROOT / "tests/deploy/golden"
LONG = 1500
CASES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))

Manifest = dict[str, Any]


def case(name: str) -> Manifest:
    """The values of one of ci/."""
    loaded: Manifest = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text())
    return loaded


def text(values: Manifest) -> str:
    """Everything but the notes, in the order of the templates."""
    rendered = helm_python.Chart.load(str(CHART)).render(values, name="chorale", namespace="music")
    parts = [
        f"---\n# {name}\n{body.strip().removeprefix('---').strip()}\n"
        for name, body in sorted(rendered.items())
        if name.endswith(".yaml") and body.strip()
    ]
    lines = "".join(parts).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def golden(values: Manifest) -> str:
    """What is reviewed: the text, with files that others generate told by their digests."""
    return "".join(
        f"{line[:60].rstrip()}... {len(line)} characters, {sha256(line.encode()).hexdigest()}\n"
        if len(line) > LONG
        else f"{line}\n"
        for line in text(values).splitlines()
    )


def manifests(values: Manifest) -> list[Manifest]:
    """The objects a cluster would be given."""
    # PyYAML's own parser takes a fifth of a second for these; libyaml a tenth of that.
    return [found for found in yaml.load_all(text(values), yaml.CSafeLoader) if found]


def of_kind(found: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of one kind, by name."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def variables(deployment: Manifest) -> dict[str, str]:
    """The environment of a service's container."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {row["name"]: row["value"] for row in container["env"]}


def images(manifest: Manifest) -> list[str]:
    """The images that the pods of a manifest are made of."""
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    if manifest["kind"] == "Pod":
        pod = manifest["spec"]
    containers = pod.get("containers", []) + pod.get("initContainers", [])
    return [container["image"] for container in containers]
