"""Every alert fires on what it is for, stays quiet on health, and leads to a page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rendered_chart as chart
import yaml
from chorale_runtime import metrics
from chorale_runtime.operations.measures import Measures

ALERTS = sorted((chart.CHART / "alerts").glob("*.yaml"))
# For each alert: series of a service that should wake somebody, and series that should not.
# `a+bxn` starts at a and grows by b for n minutes.
SERIES: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "ChoraleCallsFail": (
        [('calls_total{code="INTERNAL"}', "0+6x40"), ('calls_total{code="OK"}', "0+94x40")],
        [('calls_total{code="INTERNAL"}', "0+1x40"), ('calls_total{code="OK"}', "0+99x40")],
    ),
    "ChoraleOperationsFail": (
        [
            ('operations_attempts_total{ending="failed"}', "0+2x60"),
            ('operations_attempts_total{ending="done"}', "0+8x60"),
        ],
        [
            ('operations_attempts_total{ending="failed"}', "0+1x60"),
            ('operations_attempts_total{ending="done"}', "0+19x60"),
        ],
    ),
    "ChoraleQueueOld": (
        [('operations_oldest_waiting_seconds{queue="q"}', "0+60x60")],
        [('operations_oldest_waiting_seconds{queue="q"}', "240+0x60")],
    ),
    "ChoraleWorkersLost": (
        [("operations_taken_over_total", "0+1x60")],
        [("operations_taken_over_total", "0x29 1x30")],
    ),
}


def _rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in ALERTS:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path, rule


def test_every_alert_has_a_page_and_a_series() -> None:
    """A file holds the alert it is named for; its runbook exists, and so does its unit test."""
    assert {path.stem for path in ALERTS} == SERIES.keys()
    for path, rule in _rules():
        assert rule["alert"] == path.stem
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{path.stem}.md"
        page = (chart.ROOT / rule["annotations"]["runbook_url"]).read_text()
        assert page.startswith(f"# {path.stem}\n")


def test_alerts_ask_only_for_metrics_that_services_make() -> None:
    """Each metric of a rule is one that a service's operations or calls register."""
    Measures("alerted", ["queue"])
    told = [
        line.split()[2] for line in metrics.exposition().decode().splitlines() if "TYPE" in line
    ]
    calls = [family.name for family in metrics.CallMetrics("alerted").collect()]
    made = {*told, *calls} | {f"{name}_total" for name in calls}
    for _, rule in _rules():
        service = rule["labels"]["service"]
        asked = set(re.findall(rf"chorale_{service}_\w+", rule["expr"]))
        assert asked
        assert {name.replace(service, "alerted", 1) for name in asked} <= made


def test_runbooks_lead_only_to_pages_that_exist() -> None:
    """No link of a page for operators is dead."""
    for folder in ("runbooks", "operating"):
        for page in (chart.ROOT / "docs" / folder).glob("*.md"):
            for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                assert (page.parent / link).exists(), (page.name, link)


def test_alerts_fire_when_they_should_and_are_quiet_else(tmp_path: Path) -> None:
    """promtool evaluates every rule of every service over sick and over healthy series."""
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if promtool is None:
        pytest.skip(
            "promtool is absent (Debian: prometheus): no alert was evaluated; or set PROMTOOL"
        )
    cases = []
    for path, rule in _rules():
        service = rule["labels"]["service"]
        for fires, series in zip((True, False), SERIES[path.stem], strict=True):
            cases.append(_case(rule, service, series, fires))
    assert len(cases) == 2 * 5 * len(SERIES)
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": [str(path) for path in ALERTS], "tests": cases})
    )
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _case(
    rule: dict[str, Any], service: str, series: list[tuple[str, str]], fires: bool
) -> dict[str, Any]:
    """One unit test of promtool: what the rule says half an hour and more into the series."""
    labels = {"service": service, "severity": rule["labels"]["severity"]}
    inputs = []
    for name, values in series:
        metric, _, own = name.partition("{")
        own = f'namespace="music",{own}' if own else 'namespace="music"}'
        inputs.append({"series": f"chorale_{service}_{metric}{{{own}", "values": values})
    expected = {"namespace": "music", **labels}
    if "queue=" in series[0][0]:
        expected["queue"] = "q"
    alerts = [{"exp_labels": expected, "exp_annotations": rule["annotations"]}] if fires else []
    return {
        "interval": "1m",
        "input_series": inputs,
        "alert_rule_test": [{"eval_time": "35m", "alertname": rule["alert"], "exp_alerts": alerts}],
    }
