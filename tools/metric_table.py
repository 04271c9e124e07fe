"""Which metrics there are and what labels they carry: read off the runtime, not written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chorale_runtime import metrics
from chorale_runtime.operations.measures import Measures, Waiting
from prometheus_client.parser import text_string_to_metric_families

_SAMPLE = "tabled"


@dataclass(frozen=True)
class Family:
    """One metric of every service."""

    name: str
    """Without `chorale_<service>_` and without `_total` or `_bucket`."""
    kind: str
    """counter, gauge or histogram."""
    help: str
    labels: tuple[str, ...]


# What the Prometheus Operator's PodMonitor and the kubelet's scrape add to everything.
TARGET_LABELS = frozenset(
    {"namespace", "pod", "container", "app_kubernetes_io_component", "chorale_pool"}
)
# What others tell: the process, NVIDIA's DCGM exporter, the kubelet, SeaweedFS, CloudNativePG.
FOREIGN: Mapping[str, frozenset[str]] = {
    "process_resident_memory_bytes": frozenset(),
    "process_cpu_seconds_total": frozenset(),
    "process_open_fds": frozenset(),
    "process_max_fds": frozenset(),
    "DCGM_FI_DEV_GPU_UTIL": frozenset({"gpu", "UUID", "modelName"}),
    "DCGM_FI_DEV_FB_USED": frozenset({"gpu", "UUID", "modelName"}),
    "DCGM_FI_DEV_FB_FREE": frozenset({"gpu", "UUID", "modelName"}),
    "DCGM_FI_DEV_POWER_USAGE": frozenset({"gpu", "UUID", "modelName"}),
    "kubelet_volume_stats_available_bytes": frozenset({"persistentvolumeclaim"}),
    "kubelet_volume_stats_capacity_bytes": frozenset({"persistentvolumeclaim"}),
    "SeaweedFS_s3_request_total": frozenset({"type", "code", "bucket"}),
    "SeaweedFS_s3_request_seconds_bucket": frozenset({"type", "bucket", "le"}),
    "SeaweedFS_volumeServer_resource": frozenset({"name", "type"}),
    "cnpg_collector_up": frozenset({"cluster"}),
    "cnpg_backends_total": frozenset({"datname", "state"}),
    "cnpg_pg_database_size_bytes": frozenset({"datname"}),
    "cnpg_pg_replication_lag": frozenset(),
}


def families() -> list[Family]:
    """The metrics of a service: of its calls and of its operations, in order of their names."""
    calls = metrics.calls(_SAMPLE)
    figures = calls.of("/a/B")
    figures.ended("OK", 0.1)
    measures = Measures(_SAMPLE, ["q"])
    measures.began("q")
    measures.ended("q", "/a/B", "done", 1.0)
    measures.wait([Waiting("q", 1, 1.0)])
    prefix = f"chorale_{_SAMPLE}_"
    return [
        Family(each.name.removeprefix(prefix), each.type, each.documentation, _labels(each.samples))
        for each in text_string_to_metric_families(metrics.exposition().decode())
        if each.name.startswith(prefix) and not each.name.endswith("_created")
    ]


def series(service: str) -> dict[str, frozenset[str]]:
    """The names of a service's series as Prometheus has them, and their labels."""
    made: dict[str, frozenset[str]] = {}
    for each in families():
        name, labels = f"chorale_{service}_{each.name}", frozenset(each.labels)
        if each.kind == "counter":
            made[f"{name}_total"] = labels
        elif each.kind == "histogram":
            made |= {f"{name}_bucket": labels | {"le"}}
            made |= {f"{name}_sum": labels, f"{name}_count": labels}
        else:
            made[name] = labels
    return made


def _labels(samples: object) -> tuple[str, ...]:
    assert isinstance(samples, list)
    return tuple(sorted({label for sample in samples for label in sample.labels} - {"le"}))
