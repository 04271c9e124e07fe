"""The images hold what is locked, and nothing to build with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rendered_chart as chart
import yaml

IMAGES = chart.ROOT / "deploy/images"
TAG = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["appVersion"]
SIZE_MAX_MB = {"ingest": 400, "mastering": 400, "fingerprint": 400}


def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile passes hadolint as it comes; what is ignored is ignored in the file."""
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [program, IMAGES / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_inventory_names_what_is_installed() -> None:
    """Every row of a lock is a component of the inventory, at its version."""
    done = subprocess.run(
        [sys.executable, IMAGES / "inventory.py", "chorale-ingest"], check=True, capture_output=True
    )
    document = json.loads(done.stdout)
    found = {each["name"]: each["version"] for each in document["components"]}
    rows = (chart.ROOT / "services/ingest/requirements.lock").read_text().splitlines()
    locked = dict(row.split("==") for row in rows if "==" in row)
    assert len(locked) > 20
    assert {name: found[name].partition("+")[0] for name in locked} == locked


@pytest.mark.parametrize(
    ("variant", "service", "said"),
    [
        ("cpu", "ingets", "there is no image 'ingets'"),
        ("cuda", "ingest", "ingest uses no device"),
        ("tpu", "ingest", "VARIANT is cpu or cuda"),
    ],
)
def test_an_image_that_cannot_be_is_refused(variant: str, service: str, said: str) -> None:
    """`build.sh` says what there is before any engine is asked."""
    done = subprocess.run(
        [IMAGES / "build.sh", service],
        env={**os.environ, "VARIANT": variant, "ENGINE": "false"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert said in done.stderr


def test_every_image_the_chart_asks_for_is_made() -> None:
    """What Deployments and Jobs name is what `build.sh` builds."""
    script = (IMAGES / "build.sh").read_text()
    line = next(line for line in script.splitlines() if line.startswith("ALL="))
    made = {*line.removeprefix('ALL="').rstrip('"').split(), "client"}
    for case in chart.CASES:
        found = chart.manifests(chart.case(case))
        names = {
            name for each in found for name in chart.images(each) if name.startswith("chorale/")
        }
        assert {name.partition("/")[2].partition(":")[0] for name in names} <= made


@pytest.fixture(params=SIZE_MAX_MB)
def built(request: pytest.FixtureRequest) -> str:
    """The name of an image that `make images` left in podman."""
    name = f"localhost/chorale/{request.param}:{TAG}"
    if shutil.which("podman") is None:
        pytest.skip("podman is absent: no image can be looked at")
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode:
        pytest.skip(f"{name} is not built: run `make images` first (minutes)")
    return name


def _inspected(name: str) -> dict[str, Any]:
    done = subprocess.run(["podman", "image", "inspect", name], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def test_a_built_image_is_small_and_labelled(built: str) -> None:
    """Over its base it weighs what is allowed; it runs as 10001 and says what it is."""
    image = _inspected(built)
    done = subprocess.run(
        ["podman", "history", "--format=json", built], check=True, capture_output=True
    )
    *ours, _base = [layer["size"] for layer in json.loads(done.stdout) if layer["size"]]
    assert sum(ours) < SIZE_MAX_MB[built.split("/")[2].partition(":")[0]] * 1_000_000
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Labels"]["org.opencontainers.image.version"] == TAG


def test_a_built_image_runs_read_only_and_cannot_build(built: str) -> None:
    """With a root that cannot be written and no capability it tells its settings; no pip, no cc."""
    podman = ["podman", "run", "--rm", "--network=none", "--read-only", "--cap-drop=all"]
    podman += ["--tmpfs=/tmp", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
    done = subprocess.run(
        [*podman, built, "--settings"], check=False, capture_output=True, text=True
    )
    if "setrlimit" in done.stderr or "cgroups in hybrid" in done.stderr:
        pytest.skip(f"podman cannot run containers here: {done.stderr.strip()}")
    assert "CHORALE_ADDRESS" in done.stdout, done.stderr
    script = "id -u; for tool in pip pip3 gcc cc make; do command -v $tool; done; python3 -m pip -V"
    done = subprocess.run(
        [*podman, "--entrypoint=/bin/sh", built, "-c", script],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["10001"]
    assert "No module named pip" in done.stderr
