"""Migrations run before pods are replaced, and leave nothing for the pods to do."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import rendered_chart as chart
from chorale_client.services import SERVICES
from psycopg import sql

SCRIPT = chart.CHART / "files/migrate.py"


@pytest.fixture
def secret(database_url: str, tmp_path: Path) -> Path:
    """The file that holds the database's address, as a pod has it."""
    path = tmp_path / "database-url"
    path.write_text(database_url)
    return path


def _migrate(service: str, secret: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), service],
        env={"CHORALE_DATABASE_URL_FILE": str(secret)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_the_job_applies_all_that_a_service_brings(secret: Path, database_url: str) -> None:
    """Every numbered file of the service and of the runtime is recorded; a second run adds none."""
    for _ in range(2):
        assert "up to date" in _migrate("mastering", secret)
    recorded = {}
    with psycopg.connect(database_url) as connection:
        for name in ("mastering", "identity"):
            rows = connection.execute(
                sql.SQL("SELECT source, name FROM {}.migrations").format(sql.Identifier(name))
            )
            recorded[name] = set(rows.fetchall())
    folder = Path(str(importlib.import_module("chorale_mastering").__file__)).parent
    for path in (folder / "migrations").glob("*.sql"):
        assert ("mastering", path.stem[5:]) in recorded["mastering"]
    assert {source for source, _ in recorded["mastering"]} > {"mastering"}
    assert recorded["identity"]


def test_every_service_has_its_job_before_its_pods() -> None:
    """A hook of upgrades for each, of the service's own image, with nothing but the database."""
    for case, hook in (("external-storage", "pre-install,pre-upgrade"), ("minimal", "pre-upgrade")):
        jobs = chart.of_kind(chart.manifests(chart.case(case)), "Job")
        assert jobs.keys() == {f"chorale-migration-{name}" for name in SERVICES}
        for name in SERVICES:
            job = jobs[f"chorale-migration-{name}"]
            assert job["metadata"]["annotations"]["helm.sh/hook"] == hook
            assert chart.images(job) == [f"chorale/{name}:0.1.0"]
