"""Every alert fires on what it is for, stays quiet on health, and leads to a page."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rendered_chart as chart
import yaml
from chorale.operations.v1 import operations_service_pb2
from chorale_client.services import SERVICES
from promtool import promtool

OperationsService = operations_service_pb2.DESCRIPTOR.services_by_name["OperationsService"]
ALERTS = sorted((chart.CHART / "alerts").glob("*.yaml"))
CALL = 'method="/chorale.x.v1.XService/Get"'
Series = list[tuple[str, str]]
# For each alert: series that should wake somebody, and series that should not. Names without
# `!` are a service's own, `chorale_<service>_...`. `a+bxn`: from a, growing by b, for n minutes.
SERIES: dict[str, tuple[Series, Series]] = {
    "ChoraleCallsFail": (
        [('calls_total{code="INTERNAL"}', "0+6x90"), ('calls_total{code="OK"}', "0+94x90")],
        [('calls_total{code="INTERNAL"}', "0+1x90"), ('calls_total{code="OK"}', "0+99x90")],
    ),
    "ChoraleCallsSlow": (
        [
            (f'call_duration_seconds_bucket{{{CALL},le="2.5"}}', "0+90x90"),
            (f"call_duration_seconds_count{{{CALL}}}", "0+100x90"),
            (f'calls_total{{{CALL},code="OK"}}', "0+100x90"),
        ],
        [
            (f'call_duration_seconds_bucket{{{CALL},le="2.5"}}', "0+98x90"),
            (f"call_duration_seconds_count{{{CALL}}}", "0+100x90"),
            (f'calls_total{{{CALL},code="OK"}}', "0+100x90"),
            # A stream may last.
            ('call_duration_seconds_bucket{method="/a.B/ReadFrames",le="2.5"}', "0+1x90"),
            ('call_duration_seconds_count{method="/a.B/ReadFrames"}', "0+100x90"),
            ('calls_total{method="/a.B/ReadFrames",code="OK"}', "0+100x90"),
        ],
    ),
    "ChoraleErrorBudget": (
        [
            (f'calls_total{{{CALL},code="UNAVAILABLE"}}', "0+4x90"),
            (f'calls_total{{{CALL},code="OK"}}', "0+196x90"),
        ],
        [
            (f'calls_total{{{CALL},code="UNAVAILABLE"}}', "0+1x90"),
            (f'calls_total{{{CALL},code="NOT_FOUND"}}', "0+500x90"),
            (f'calls_total{{{CALL},code="OK"}}', "0+999x90"),
        ],
    ),
    "ChoraleOperationsFail": (
        [
            ('operations_attempts_total{ending="failed"}', "0+2x90"),
            ('operations_attempts_total{ending="done"}', "0+8x90"),
        ],
        [
            ('operations_attempts_total{ending="failed"}', "0+1x90"),
            ('operations_attempts_total{ending="done"}', "0+19x90"),
        ],
    ),
    "ChoraleQueueOld": (
        [('operations_oldest_waiting_seconds{queue="q"}', "0+60x90")],
        [('operations_oldest_waiting_seconds{queue="q"}', "240+0x90")],
    ),
    "ChoraleQueueUnserved": (
        [
            ('operations_waiting_count{queue="q"}', "3+0x90"),
            ('operations_running_count{queue="q"}', "0+0x90"),
        ],
        [
            ('operations_waiting_count{queue="q"}', "3+0x90"),
            ('operations_running_count{queue="q"}', "1+0x90"),
        ],
    ),
    "ChoraleServiceGone": (
        [("calls_in_flight", "0+0x30 stale")],
        [("calls_in_flight", "0+0x90")],
    ),
    "ChoraleWorkersLost": (
        [("operations_taken_over_total", "0+1x90")],
        [("operations_taken_over_total", "0x29 1x60")],
    ),
    "ChoraleFilesRunOut": (
        [
            ('!process_open_fds{pod="p",app_kubernetes_io_component="ingest"}', "900+0x90"),
            ('!process_max_fds{pod="p",app_kubernetes_io_component="ingest"}', "1024+0x90"),
        ],
        [
            ('!process_open_fds{pod="p",app_kubernetes_io_component="ingest"}', "90+0x90"),
            ('!process_max_fds{pod="p",app_kubernetes_io_component="ingest"}', "1024+0x90"),
        ],
    ),
    "ChoraleDeviceIdle": (
        [('!DCGM_FI_DEV_GPU_UTIL{pod="p"}', "1+0x240")],
        [('!DCGM_FI_DEV_GPU_UTIL{pod="p"}', "40+0x240")],
    ),
    "ChoraleVolumeFull": (
        [
            (
                '!kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-chorale-objects-0"}',
                "10x90",
            ),
            (
                '!kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-chorale-objects-0"}',
                "100x90",
            ),
        ],
        [
            (
                '!kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-chorale-objects-0"}',
                "20x90",
            ),
            (
                '!kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-chorale-objects-0"}',
                "100x90",
            ),
            # Somebody else's volume is somebody else's trouble.
            ('!kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-mail-0"}', "1x90"),
            ('!kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-mail-0"}', "100x90"),
        ],
    ),
}
# Labels that an alert carries beside the namespace and its own.
CARRIED = {
    "ChoraleCallsSlow": {"method": "/chorale.x.v1.XService/Get"},
    "ChoraleErrorBudget": {"method": "/chorale.x.v1.XService/Get"},
    "ChoraleQueueOld": {"queue": "q"},
    "ChoraleQueueUnserved": {"queue": "q"},
    "ChoraleFilesRunOut": {"pod": "p", "app_kubernetes_io_component": "ingest"},
    "ChoraleDeviceIdle": {"pod": "p"},
    "ChoraleVolumeFull": {"persistentvolumeclaim": "data-chorale-objects-0"},
}


def _rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in ALERTS:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path, rule


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    """The groups of rules that the chart hands to Prometheus."""
    found = chart.of_kind(chart.manifests(chart.case("observability")), "PrometheusRule")
    spec: dict[str, Any] = found["chorale"]["spec"]
    return spec


def test_every_alert_has_a_page_and_a_series() -> None:
    """A file holds the alert it is named for; its runbook exists, and so does its unit test."""
    assert {path.stem for path in ALERTS} == SERIES.keys()
    for path, rule in _rules():
        assert rule["alert"] == path.stem
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{path.stem}.md"
        page = (chart.ROOT / rule["annotations"]["runbook_url"]).read_text()
        assert page.startswith(f"# {path.stem}\n")


def test_every_alert_is_rendered(rendered: dict[str, Any]) -> None:
    """No file of alerts is lost on its way into the cluster."""
    given = [rule for group in rendered["groups"] for rule in group["rules"] if "alert" in rule]
    assert given == [rule for _, rule in _rules()]


def test_runbooks_lead_only_to_pages_that_exist() -> None:
    """No link of a page for operators is dead."""
    for folder in ("runbooks", "operating"):
        for page in (chart.ROOT / "docs" / folder).glob("*.md"):
            for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                assert (page.parent / link).exists(), (page.name, link)


def test_every_runbook_is_found_from_the_front_page() -> None:
    """Who opens docs/operating finds the page of each alert."""
    front = (chart.ROOT / "docs/operating/README.md").read_text()
    assert [
        path.stem for path in ALERTS if f"({path.stem}.md)" not in front.replace("../runbooks/", "")
    ] == []


def test_calls_that_last_are_those_of_the_contract() -> None:
    """Every stream is kept out of the objective of latency, and no name is of another age."""
    lasting = yaml.safe_load((chart.CHART / "rules/lasting.yaml").read_text())
    methods = [*OperationsService.methods]
    for name in SERVICES:
        module = importlib.import_module(f"chorale.{name}.v1.{name}_service_pb2")
        methods += module.DESCRIPTOR.services_by_name[f"{name.title()}Service"].methods
    streams = {each.name for each in methods if each.client_streaming or each.server_streaming}
    assert streams <= set(lasting)
    assert set(lasting) <= {each.name for each in methods} | {"WaitOperation"}
    assert len(lasting) == len(set(lasting))


def test_alerts_fire_when_they_should_and_are_quiet_else(
    rendered: dict[str, Any], tmp_path: Path
) -> None:
    """promtool evaluates every rule of every service over sick and over healthy series."""
    for path in ALERTS:
        needed = {"groups": _needed(rendered["groups"], path.stem)}
        (tmp_path / f"rules-{path.stem}.yaml").write_text(yaml.safe_dump(needed))
        cases = [_case(path.stem, fires) for fires in (True, False)]
        test = {"rule_files": [f"rules-{path.stem}.yaml"], "tests": cases}
        (tmp_path / f"test-{path.stem}.yaml").write_text(yaml.safe_dump(test))
    promtool(tmp_path, "test", "rules", *(f"test-{path.stem}.yaml" for path in ALERTS))


def _needed(groups: list[dict[str, Any]], alert: str) -> list[dict[str, Any]]:
    """The groups, with no more rules than the alert stands on: the others would cost minutes."""
    rules = [rule for group in groups for rule in group["rules"]]
    names = {alert}
    while True:
        asked = "".join(rule["expr"] for rule in rules if _name(rule) in names)
        more = set(re.findall(r"chorale:\w+:\w+", asked)) | names
        if more == names:
            break
        names = more
    kept = [
        group | {"rules": [rule for rule in group["rules"] if _name(rule) in names]}
        for group in groups
    ]
    return [group for group in kept if group["rules"]]


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def _case(alert: str, fires: bool) -> dict[str, Any]:
    """One unit test of promtool: what the rules say an hour and more into the series of all."""
    inputs, services = [], set()
    for name, values in SERIES[alert][0 if fires else 1]:
        metric, _, own = name.removeprefix("!").partition("{")
        labels = f'{{namespace="music",{own}' if own else '{namespace="music"}'
        of = [""] if name.startswith("!") else SERVICES
        services |= set(of)
        for service in of:
            full = f"chorale_{service}_{metric}" if service else metric
            inputs.append({"series": f"{full}{labels}", "values": values})
    expected = [
        _expected(rule, service)
        for path, rule in _rules()
        for service in sorted(services)
        if fires and path.stem == alert
    ]
    at = "200m" if alert == "ChoraleDeviceIdle" else "80m"
    return {
        "interval": "1m",
        "input_series": inputs,
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": expected}],
    }


def _expected(rule: dict[str, Any], service: str) -> dict[str, Any]:
    """The alert that a rule makes of a service, its texts filled in."""
    carried = {"namespace": "music", **CARRIED.get(rule["alert"], {})}
    if service:
        carried["service"] = service
    told = {
        key: re.sub(r"{{ \$labels\.(\w+) }}", lambda match: carried[match[1]], text)
        for key, text in rule["annotations"].items()
    }
    return {"exp_labels": carried | rule["labels"], "exp_annotations": told}
