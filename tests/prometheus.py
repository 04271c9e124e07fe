"""A real Prometheus that scrapes a mesh by the rules of the chart, every second."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rendered_chart as chart
import yaml
from chorale_mesh.ports import LOOPBACK, free_port

NAMESPACE = "music"
START_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    address: str

    def ask(self, what: str, **parameters: str) -> Any:
        """The data of an answer of its API."""
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused
        return told["data"]


@contextmanager
def scraping(metrics: Mapping[str, str], directory: Path) -> Iterator[Prometheus]:
    """Scrapes services by name, labelled as the chart's PodMonitor labels them."""
    program = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
    if program is None:
        pytest.skip(
            "NOT TESTED: prometheus is absent (Debian: prometheus), no query was answered; or set"
            " PROMETHEUS"
        )
    targets = [
        {
            "targets": [address],
            "labels": {
                "namespace": NAMESPACE,
                "pod": f"chorale-{name}-0",
                "app_kubernetes_io_component": name,
            },
        }
        for name, address in metrics.items()
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "pods", "static_configs": targets}],
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": _rules()}))
    address = f"{LOOPBACK}:{free_port()}"
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(program, "--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb"),
                *(f"--web.listen-address={address}", "--enable-feature=exemplar-storage"),
            ],
            cwd=directory,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(address, directory / "prometheus.log")
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(20)


def _rules() -> list[dict[str, Any]]:
    """The chart's, each group evaluated every second."""
    found = chart.of_kind(chart.manifests(chart.case("observability")), "PrometheusRule")
    return [group | {"interval": "1s"} for group in found["chorale"]["spec"]["groups"]]


def _wait(address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"prometheus did not start:\n{log.read_text()[-2000:]}")
