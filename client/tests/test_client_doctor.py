"""`chorale doctor` finds what is wrong and says what helps."""

import json
import os
from pathlib import Path

import pytest
from chorale_client import checkup
from chorale_client.command.main import cli
from click.testing import CliRunner
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from loopback import SmallMesh
from memory_ingest import status


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory, and no other word on where the mesh is."""
    for name in [name for name in os.environ if name.startswith("CHORALE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHORALE_HOME", str(tmp_path))
    return tmp_path


def write(home: Path, mesh: SmallMesh, pid: int) -> None:
    """What `chorale up` writes."""
    services = {name: {"address": mesh.address, "pid": pid} for name in ("ingest", "mastering")}
    (home / "mesh.json").write_text(json.dumps({"services": services, "pid": pid}))


def examine(*options: str) -> tuple[int, dict[str, dict[str, object]]]:
    """The exit status and the findings, by what was looked at."""
    result = CliRunner().invoke(cli, ["doctor", "--json", *options])
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {finding["check"]: finding for finding in findings}


def test_a_mesh_that_is_well_is_said_to_be(home: Path, small_mesh: SmallMesh) -> None:
    """Everything is looked at, nothing is wrong, nothing is left behind."""
    write(home, small_mesh, os.getpid())
    exit_status, found = examine()
    assert (exit_status, list(found)) == (
        0,
        ["versions", "mesh", "processes", "disk", "ingest", "mastering", "identity", "storage"],
    )
    assert all(finding["ok"] for finding in found.values())
    assert "without analysis" in str(found["mesh"]["found"])
    assert small_mesh.ingest.audio == {}


def test_without_a_mesh_it_says_how_to_start_one() -> None:
    """The first thing a newcomer trips over."""
    exit_status, found = examine()
    assert exit_status == 1
    assert "chorale up" in str(found["mesh"]["remedy"])


def test_a_dead_mesh_is_told_from_a_living_one(home: Path, small_mesh: SmallMesh) -> None:
    """mesh.json that outlived its processes is found out by their ids."""
    write(home, small_mesh, 2**22 - 3)  # beyond any pid that this test could meet
    exit_status, found = examine("--no-round-trip")
    assert exit_status == 1
    assert "ingest (pid" in str(found["processes"]["found"])
    assert found["storage"]["ok"] is None


def test_a_service_that_is_not_ready_is_told(home: Path, small_mesh: SmallMesh) -> None:
    """NOT_SERVING is neither well nor unreachable."""
    write(home, small_mesh, os.getpid())
    small_mesh.health.status = health_pb2.HealthCheckResponse.NOT_SERVING
    exit_status, found = examine()
    assert exit_status == 1
    assert "is NOT_SERVING" in str(found["ingest"]["found"])
    assert "storage" not in found


def test_an_unreachable_service_is_told_with_its_address() -> None:
    """Nothing listening: the address and the remedy."""
    result = CliRunner().invoke(cli, ["--endpoint", "127.0.0.1:1", "doctor"])
    assert result.exit_code == 1
    assert "FAIL  ingest       127.0.0.1:1: Nothing answers" in result.stdout
    assert "-> chorale up" in result.stdout


def test_refused_credentials_are_told(home: Path, small_mesh: SmallMesh) -> None:
    """An expired token is found before the upload fails by it."""
    write(home, small_mesh, os.getpid())
    small_mesh.ingest.failures.append(status(code_pb2.UNAUTHENTICATED, "CREDENTIALS_EXPIRED"))
    exit_status, found = examine()
    assert exit_status == 1
    assert "CREDENTIALS_EXPIRED" in str(found["identity"]["found"])
    assert "CHORALE_TOKEN" in str(found["identity"]["remedy"])


def test_a_bucket_that_cannot_be_reached_is_told(home: Path, small_mesh: SmallMesh) -> None:
    """The way through ingest into the bucket and back is tried for real."""
    write(home, small_mesh, os.getpid())
    down = status(code_pb2.RESOURCE_EXHAUSTED, "STORAGE_FULL", "The bucket is full.")
    small_mesh.ingest.failures.extend([None, down])  # GetUsage is well, StartUpload is not
    exit_status, found = examine()
    assert exit_status == 1
    assert found["storage"]["found"] == "The bucket is full. (STORAGE_FULL)"


def test_a_full_disk_is_told(
    home: Path, small_mesh: SmallMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little room is said before the database says it."""
    write(home, small_mesh, os.getpid())
    monkeypatch.setattr(checkup, "DISK_BYTES_MIN", 1 << 60)
    exit_status, found = examine()
    assert exit_status == 1
    assert "CHORALE_HOME" in str(found["disk"]["remedy"])
