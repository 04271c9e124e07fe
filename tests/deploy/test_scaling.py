"""A pool that sleeps is woken by work, and not put to sleep under it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import rendered_chart as chart
import yaml

PREFIX = "chorale_generation_operations"
WAITING = f'{PREFIX}_waiting_count{{namespace="music",queue="q",pod="%s"}}'
RUNNING = f'{PREFIX}_running_count{{namespace="music",queue="q",pod="%s"}}'
# What is told, and how many operations the pool is sized for.
SITUATIONS: list[tuple[dict[str, str], int]] = [
    ({WAITING % "a": "0x9", WAITING % "b": "0x9"}, 0),
    # Each replica tells of the whole queue: five wait, and not ten. Nobody has worked yet.
    ({WAITING % "a": "5x9", WAITING % "b": "5x9"}, 5),
    # Nothing waits any more, but two are being worked on: the pool stays.
    ({WAITING % "a": "0x9", RUNNING % "a": "1x9", RUNNING % "b": "1x9"}, 2),
    # Another release's work is its own.
    ({WAITING % "a": "0x9", (WAITING % "z").replace("music", "other"): "9x9"}, 0),
]


def test_a_pool_is_sized_by_what_waits_and_what_runs(tmp_path: Path) -> None:
    """promtool asks the very query that the chart hands to KEDA."""
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is absent (Debian: prometheus): no query was asked; or set PROMTOOL")
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
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
