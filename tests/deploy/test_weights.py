"""Weights come by digest before a service starts, or it does not start."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import helm_python
import pytest
import rendered_chart as chart

SCRIPT = chart.CHART / "files/fetch-weights.py"
CONTENT = b"published weights" * 1000


def _brought(folder: Path, sha256: str, source: Path) -> subprocess.CompletedProcess[str]:
    asked = {"beats.pt": {"url": source.as_uri(), "sha256": sha256}}
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)],
        env={"WEIGHTS": json.dumps(asked)},
        check=False,
        capture_output=True,
        text=True,
    )


def test_weights_are_fetched_once_and_again_when_damaged(tmp_path: Path) -> None:
    """A whole file stays as it is, a damaged one is replaced; nothing half is left behind."""
    folder, source = tmp_path / "weights", tmp_path / "source"
    folder.mkdir()
    source.write_bytes(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    for said in ("was fetched", "is there"):
        assert said in _brought(folder, sha256, source).stdout
    (folder / "beats.pt").write_bytes(b"damaged")
    assert "was fetched" in _brought(folder, sha256, source).stdout
    assert (folder / "beats.pt").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["beats.pt"]


def test_weights_of_another_digest_never_get_their_name(tmp_path: Path) -> None:
    """The pod does not start, says both digests, and keeps nothing."""
    folder, source = tmp_path / "weights", tmp_path / "source"
    folder.mkdir()
    source.write_bytes(CONTENT)
    done = _brought(folder, "0" * 64, source)
    assert done.returncode != 0
    assert "0" * 64 in done.stderr
    assert hashlib.sha256(CONTENT).hexdigest() in done.stderr
    assert list(folder.iterdir()) == []


def test_pods_wait_for_weights_and_cannot_change_them() -> None:
    """An init container fetches into the claim; the service has it read-only and by its setting."""
    found = chart.manifests(chart.case("gpu"))
    for name in ("analysis", "analysis-mig"):
        deployment = chart.of_kind(found, "Deployment")[f"chorale-{name}"]
        pod = deployment["spec"]["template"]["spec"]
        (init,) = pod["initContainers"]
        assert init["image"] == pod["containers"][0]["image"]
        assert "beats.pt" in json.loads(init["env"][0]["value"])
        mounts = {each["name"]: each for each in pod["containers"][0]["volumeMounts"]}
        assert mounts["weights"] == {"name": "weights", "mountPath": "/weights", "readOnly": True}
        assert chart.variables(deployment)["CHORALE_WEIGHTS_DIRECTORY"] == "/weights"
    assert "chorale-weights" in chart.of_kind(found, "ConfigMap")
    others = chart.manifests(chart.case("minimal"))
    assert "chorale-weights" not in chart.of_kind(others, "ConfigMap")


def test_weights_without_a_digest_are_refused() -> None:
    """No pod takes whatever an address happens to give it."""
    values = chart.case("gpu")
    del values["services"]["analysis"]["weights"]["files"]["beats.pt"]["sha256"]
    with pytest.raises(helm_python.HelmValuesError, match="sha256"):
        chart.text(values)
