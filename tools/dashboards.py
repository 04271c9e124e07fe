"""Writes the Grafana dashboards of the chart from the metric table of the runtime.

python tools/dashboards.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorale_client.services import SERVICES
from metric_table import Family, families

FOLDER = Path(__file__).resolve().parents[1] / "deploy/helm/chorale/dashboards"
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2
_HERE = 'namespace="$namespace"'


@dataclass(frozen=True)
class Panel:
    """One chart: what it says, in which unit, and the queries with their legends."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    has_exemplars: bool = False
    """Whether traces are shown in it: of buckets that are asked for themselves."""


def dashboards() -> dict[str, dict[str, Any]]:
    """All of them, by file name."""
    made = {"mesh": _dashboard("mesh", "Chorale: the mesh", MESH)}
    for name in SERVICES:
        panels = [*(_of_family(name, each) for each in families()), *_process(name)]
        made[name] = _dashboard(name, f"Chorale: {name}", panels)
    made["devices"] = _dashboard("devices", "Chorale: devices", DEVICES)
    made["storage"] = _dashboard("storage", "Chorale: storage", STORAGE)
    return made


def text(dashboard: dict[str, Any]) -> str:
    """As it lies in the repository."""
    return json.dumps(dashboard, indent=1) + "\n"


def _of_family(service: str, family: Family) -> Panel:
    """What one metric of a service has to tell, whatever kind it is."""
    name, by = f"chorale_{service}_{family.name}", ", ".join(family.labels)
    legend = " ".join(f"{{{{{label}}}}}" for label in family.labels) or service
    over = f"sum by ({by}) " if by else "sum"
    if family.kind == "counter":
        unit = "Bps" if family.name.endswith("bytes") else "cps"
        query = f"{over}(rate({name}_total{{{_HERE}}}[$__rate_interval]))"
        return Panel(f"{family.help} Each second", unit, ((query, legend),))
    if family.kind == "histogram":
        buckets = f"sum by ({by}, le) (rate({name}_bucket{{{_HERE}}}[$__rate_interval]))"
        queries = tuple(
            (f"histogram_quantile({share}, {buckets})", f"{legend} p{round(share * 100)}")
            for share in (0.5, 0.99)
        )
        return Panel(family.help, "s", queries, has_exemplars=True)
    # Every replica tells the same of what waits: the largest, and not the sum.
    shared = family.name.endswith(("waiting_count", "waiting_seconds"))
    over = over.replace("sum", "max") if shared else over
    unit = "s" if family.name.endswith("seconds") else "short"
    return Panel(family.help, unit, ((f"{over}({name}{{{_HERE}}})", legend),))


def _process(service: str) -> Iterator[Panel]:
    pods = f'{_HERE}, app_kubernetes_io_component="{service}"'
    memory = f"process_resident_memory_bytes{{{pods}}}"
    cpu = f"rate(process_cpu_seconds_total{{{pods}}}[$__rate_interval])"
    yield Panel("Memory of the serving process.", "bytes", ((memory, "{{pod}}"),))
    yield Panel("Processors of the serving process.", "short", ((cpu, "{{pod}}"),))


def _recorded(title: str, unit: str, series: str, legend: str, by: str = "service") -> Panel:
    """A recorded series, summed or taken at its worst over what is not in `by`."""
    over = "sum" if ":rate" in series or series.endswith((":sum", ":count")) else "max"
    over = "min" if "ratio28d" in series else over
    return Panel(title, unit, ((f"{over} by ({by}) ({series}{{{_HERE}}})", legend),))


MESH = [
    _recorded("Calls", "cps", "chorale:calls:rate5m", "{{service}}"),
    _recorded("Codes", "cps", "chorale:calls:rate5m", "{{service}} {{code}}", "service, code"),
    _recorded(
        "Share of calls that fail: the worst RPC",
        "percentunit",
        "chorale:calls_failed:ratio_rate5m",
        "{{service}}",
    ),
    _recorded(
        "p99 of calls, by RPC", "s", "chorale:call_seconds:p99", "{{method}}", "service, method"
    ),
    _recorded("Calls in flight", "short", "chorale:calls_in_flight:sum", "{{service}}"),
    _recorded("Replicas", "short", "chorale:replicas:count", "{{service}}"),
    _recorded(
        "Operations waiting", "short", "chorale:queue_waiting:max", "{{queue}}", "service, queue"
    ),
    _recorded(
        "Oldest waiting", "s", "chorale:queue_age_seconds:max", "{{queue}}", "service, queue"
    ),
    _recorded(
        "Operations running", "short", "chorale:operations_running:sum", "{{queue}}", "queue"
    ),
    _recorded("p95 of operations", "s", "chorale:operation_seconds:p95", "{{method}}", "method"),
    _recorded(
        "Availability, 28 days: the worst RPC (objective 0.999)",
        "percentunit",
        "chorale:availability:ratio28d",
        "{{service}}",
    ),
    _recorded(
        "Within 2.5 s, 28 days: the worst RPC (objective 0.99)",
        "percentunit",
        "chorale:latency:ratio28d",
        "{{service}}",
    ),
    _recorded(
        "Queues young, 28 days (objective 0.99)",
        "percentunit",
        "chorale:queue_age:ratio28d",
        "{{queue}}",
        "service, queue",
    ),
    _recorded(
        "Attempts that did not fail, 28 days (objective 0.99)",
        "percentunit",
        "chorale:operation_success:ratio28d",
        "{{service}}",
    ),
]

DEVICES = [
    Panel("Busy, %", "percent", ((f"DCGM_FI_DEV_GPU_UTIL{{{_HERE}}}", "{{pod}} {{gpu}}"),)),
    _recorded(
        "Busy, of the last hour", "percentunit", "chorale:devices_busy:ratio1h", "{{pod}}", "pod"
    ),
    Panel("Memory used", "decmbytes", ((f"DCGM_FI_DEV_FB_USED{{{_HERE}}}", "{{pod}} {{gpu}}"),)),
    Panel("Memory free", "decmbytes", ((f"DCGM_FI_DEV_FB_FREE{{{_HERE}}}", "{{pod}} {{gpu}}"),)),
    Panel("Power", "watt", ((f"DCGM_FI_DEV_POWER_USAGE{{{_HERE}}}", "{{pod}} {{gpu}}"),)),
    _recorded(
        "Waiting for a worker", "short", "chorale:queue_waiting:max", "{{queue}}", "service, queue"
    ),
]

_CLAIM = f'{_HERE}, persistentvolumeclaim=~"data-.+-(database|objects)-0"'
STORAGE = [
    Panel(
        "Volumes: share that is free",
        "percentunit",
        (
            (
                f"kubelet_volume_stats_available_bytes{{{_CLAIM}}}"
                f" / kubelet_volume_stats_capacity_bytes{{{_CLAIM}}}",
                "{{persistentvolumeclaim}}",
            ),
        ),
    ),
    Panel(
        "SeaweedFS: requests",
        "cps",
        (
            (
                "sum by (type, code) "
                f"(rate(SeaweedFS_s3_request_total{{{_HERE}}}[$__rate_interval]))",
                "{{type}} {{code}}",
            ),
        ),
    ),
    Panel(
        "SeaweedFS: p99 of requests",
        "s",
        (
            (
                "histogram_quantile(0.99, sum by (type, le) "
                f"(rate(SeaweedFS_s3_request_seconds_bucket{{{_HERE}}}[$__rate_interval])))",
                "{{type}}",
            ),
        ),
    ),
    Panel(
        "SeaweedFS: its disk",
        "bytes",
        ((f"sum by (type) (SeaweedFS_volumeServer_resource{{{_HERE}}})", "{{type}}"),),
    ),
    Panel(
        "CloudNativePG: connections",
        "short",
        ((f"sum by (datname, state) (cnpg_backends_total{{{_HERE}}})", "{{datname}} {{state}}"),),
    ),
    Panel(
        "CloudNativePG: size of databases",
        "bytes",
        ((f"max by (datname) (cnpg_pg_database_size_bytes{{{_HERE}}})", "{{datname}}"),),
    ),
    Panel(
        "CloudNativePG: replication lag", "s", ((f"cnpg_pg_replication_lag{{{_HERE}}}", "{{pod}}"),)
    ),
    Panel("CloudNativePG: servers up", "short", ((f"sum(cnpg_collector_up{{{_HERE}}})", "up"),)),
]

_SOURCE = {"type": "prometheus", "uid": "${source}"}


def _dashboard(name: str, title: str, panels: list[Panel]) -> dict[str, Any]:
    return {
        "uid": f"chorale-{name}",
        "title": title,
        "tags": ["chorale"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "namespace",
                    "label": "Namespace",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(chorale:replicas:count, namespace)",
                    "refresh": 2,
                },
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title.rstrip("."),
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "expr": query,
                "legendFormat": legend,
                # Of each bucket once, however many quantiles are drawn.
                "exemplar": panel.has_exemplars and place == 0,
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def main() -> None:
    """Writes every dashboard; one that is gone loses its file."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for name, dashboard in dashboards().items():
        (FOLDER / f"{name}.json").write_text(text(dashboard))


if __name__ == "__main__":
    main()
