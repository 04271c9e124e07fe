"""Dashboards and rules ask only for what somebody tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import dashboards
import metric_table
import pytest
import rendered_chart as chart
import yaml
from chorale_client.services import SERVICES
from promtool import promtool

FILES = sorted((chart.CHART / "dashboards").glob("*.json"))
WORDS = {"namespace", "service", "instance", "job"}
SELECTED = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
METRIC = re.compile(r"\b(?:chorale[:_]|process_|DCGM_|kubelet_|SeaweedFS_|cnpg_)[\w:]+")


def _rules() -> list[dict[str, str]]:
    found = chart.of_kind(chart.manifests(chart.case("observability")), "PrometheusRule")
    return [rule for group in found["chorale"]["spec"]["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def told() -> dict[str, frozenset[str]]:
    """Every series that there is, and its labels: of services, of others, and recorded."""
    made = dict(metric_table.FOREIGN)
    for name in SERVICES:
        made |= metric_table.series(name)
    made = {name: labels | metric_table.TARGET_LABELS for name, labels in made.items()}
    for rule in _rules():
        if "record" in rule:
            kept = re.findall(r"by \(([^)]*)\)", rule["expr"])
            labels = {label.strip() for each in kept for label in each.split(",")}
            for inner in METRIC.findall(rule["expr"]):
                labels |= made[inner] if not kept and ":" in inner else set()
            made[rule["record"]] = frozenset(labels - {"le"} | WORDS)
    return made


def _queries() -> Iterator[tuple[str, str]]:
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield path.stem, target["expr"]


def test_dashboards_are_those_of_the_metric_table() -> None:
    """Each file is what `tools/dashboards.py` makes of the metrics as they are now."""
    made = dashboards.dashboards()
    assert {path.stem for path in FILES} == made.keys()
    for path in FILES:
        assert path.read_text() == dashboards.text(made[path.stem]), "run tools/dashboards.py"
    for name in SERVICES:
        asked = " ".join(query for stem, query in _queries() if stem == name)
        for family in metric_table.families():
            assert f"chorale_{name}_{family.name}" in asked


def test_queries_ask_only_for_metrics_and_labels_that_exist(
    told: dict[str, frozenset[str]],
) -> None:
    """Of dashboards, recorded series and alerts alike: name, selected labels, grouped labels."""
    for query in [query for _, query in _queries()] + [rule["expr"] for rule in _rules()]:
        asked = set(METRIC.findall(query))
        assert asked, query
        assert asked <= told.keys(), query
        for name, selected in SELECTED.findall(query):
            labels = set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', '""', selected)))
            assert labels <= told[name] | WORDS, (name, query)
        grouped = {
            label.strip() for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(",")
        }
        assert grouped <= frozenset().union(*(told[name] for name in asked)) | WORDS, query


def test_what_is_recorded_is_used() -> None:
    """No series is recorded that neither an alert nor a dashboard nor another record reads."""
    texts = " ".join([query for _, query in _queries()] + [rule["expr"] for rule in _rules()])
    read = set(METRIC.findall(texts))
    assert {rule["record"] for rule in _rules() if "record" in rule} - read == set()


def test_dashboards_reach_the_cluster_whole() -> None:
    """Each file is in a ConfigMap that Grafana's sidecar finds."""
    maps = chart.of_kind(chart.manifests(chart.case("observability")), "ConfigMap")
    for path in FILES:
        given = maps[f"chorale-dashboard-{path.stem}"]
        assert given["metadata"]["labels"]["grafana_dashboard"] == "1"
        (held,) = given["data"].values()
        assert json.loads(held) == json.loads(path.read_text())


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    """promtool parses each query, Grafana's variables filled in."""
    rules = [
        {"record": f"query{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, (_, query) in enumerate(_queries())
    ]
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})
    )
    promtool(tmp_path, "check", "rules", "rules.yaml")


def test_latencies_show_traces() -> None:
    """Every panel of a service that asks for buckets shows their exemplars, and no other does."""
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            first, *more = panel["targets"]
            # SeaweedFS tells buckets and no exemplars; of recorded series there are none.
            assert first["exemplar"] is bool(re.search(r"chorale_\w+_bucket", first["expr"]))
            assert not any(target["exemplar"] for target in more)
