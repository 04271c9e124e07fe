"""A pool that sleeps is woken by work, and not put to sleep under it."""

from __future__ import annotations

import fnmatch
import importlib
from pathlib import Path

import helm_python
import pytest
import rendered_chart as chart
import yaml
from chorale_generation.settings import Settings
from chorale_runtime import settings
from chorale_runtime.operations import Queues
from google.protobuf.descriptor import MethodDescriptor
from promtool import promtool

PREFIX = "chorale_generation_operations"
WAITING = f'{PREFIX}_waiting_count{{namespace="music",queue="generation.cuda",pod="%s"}}'
RUNNING = f'{PREFIX}_running_count{{namespace="music",queue="generation.cuda",pod="%s"}}'
# What is told, and how many operations the pool is sized for.
SITUATIONS: list[tuple[dict[str, str], int]] = [
    ({WAITING % "a": "0x9", WAITING % "b": "0x9"}, 0),
    # Each replica tells of the whole queue: five wait, and not ten. Nobody has worked yet.
    ({WAITING % "a": "5x9", WAITING % "b": "5x9"}, 5),
    # Nothing waits any more, but two are being worked on: the pool stays.
    ({WAITING % "a": "0x9", RUNNING % "a": "1x9", RUNNING % "b": "1x9"}, 2),
    # What processors do is none of a device's business.
    ({WAITING % "a": "0x9", (WAITING % "z").replace("cuda", "cpu"): "9x9"}, 0),
    # Another release's work is its own.
    ({WAITING % "a": "0x9", (WAITING % "z").replace("music", "other"): "9x9"}, 0),
]


def test_a_pool_is_sized_by_what_waits_and_what_runs(tmp_path: Path) -> None:
    """promtool asks the very query that the chart hands to KEDA."""
    scaled = chart.of_kind(chart.manifests(chart.case("gpu")), "ScaledObject")
    (trigger,) = scaled["chorale-generation-gpu"]["spec"]["triggers"]
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": said} for name, said in told.items()],
            "promql_expr_test": [
                {
                    "expr": trigger["metadata"]["query"],
                    "eval_time": "5m",
                    "exp_samples": [{"labels": "{}", "value": expected}],
                }
            ],
        }
        for told, expected in SITUATIONS
    ]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": cases}))
    promtool(tmp_path, "test", "rules", "test.yaml")


def test_devices_work_on_their_queue_and_on_nothing_else() -> None:
    """Pods with devices take what waits for devices; all others of the service leave it alone."""
    found = chart.manifests(chart.case("gpu"))
    deployments = chart.of_kind(found, "Deployment")
    main, pool = (
        chart.variables(deployments[name])
        for name in ("chorale-generation", "chorale-generation-gpu")
    )
    assert main["CHORALE_DEVICE_WORKS"] == pool["CHORALE_DEVICE_WORKS"]
    methods = [work.name for work in _long_works("generation")]
    for variables, worked_on, device in ((main, "cpu", "cpu"), (pool, "cuda", "cuda:0")):
        loaded = settings.load(Settings, _rows(variables))
        queues = Queues.of(loaded)
        assert loaded.device == device
        assert [q for q in ("cpu", "cuda") if queues.is_worked_on(f"generation.{q}")] == [worked_on]
        for pattern in loaded.device_works:
            assert fnmatch.filter(methods, pattern), f"{pattern} names no RPC of generation"


def test_work_for_devices_needs_devices() -> None:
    """Work that is given to a queue on which no pool works is refused when it is rendered."""
    values = chart.case("gpu")
    values["services"]["generation"]["pools"]["gpu"].pop("gpu")
    with pytest.raises(helm_python.HelmRenderError, match="no pool would do"):
        chart.text(values)


@pytest.mark.parametrize(
    ("pool", "said"),
    [("gpu", 'queue="generation.cuda"'), ("slow", 'queue!="generation.cuda"')],
)
def test_a_pool_is_scaled_by_the_queues_it_works_on(pool: str, said: str) -> None:
    """One with devices by theirs, one without by all others."""
    values = chart.case("gpu")
    values["services"]["generation"]["pools"]["slow"] = {"scaling": {"kind": "keda"}}
    scaled = chart.of_kind(chart.manifests(values), "ScaledObject")
    (trigger,) = scaled[f"chorale-generation-{pool}"]["spec"]["triggers"]
    assert trigger["metadata"]["query"].count(said) == 2


def _long_works(service: str) -> list[MethodDescriptor]:
    module = importlib.import_module(f"chorale.{service}.v1.{service}_service_pb2")
    methods = module.DESCRIPTOR.services_by_name[f"{service.title()}Service"].methods
    return [each for each in methods if each.output_type.name == "Operation"]


def _rows(variables: dict[str, str]) -> dict[str, str]:
    """What the settings take without its files being there."""
    return {name: text for name, text in variables.items() if not name.endswith("_FILE")}
