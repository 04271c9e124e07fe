"""Dashboards and rules over a live scrape: every query is answered, and no alert sounds."""

import asyncio
import json
import math
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import metric_table
import pytest
import rendered_chart as chart
from chorale.ingest.v1 import reading_pb2
from chorale_client import AsyncChorale
from chorale_mesh.demo.journey import Journey, travel
from chorale_mesh.demo.sections import SECTIONS
from chorale_mesh.demo.song import compose
from collector import Collector
from prometheus import NAMESPACE, Prometheus, scraping
from running_mesh import RunningMesh

# What no part of a mesh on one machine tells: devices, volumes of a cluster, operators.
FOREIGN = (
    "chorale:devices_busy",
    *(name for name in metric_table.FOREIGN if not name.startswith("process_")),
)
ANSWER_SECONDS_MAX = 30.0


def _queries() -> Iterator[tuple[str, str]]:
    for path in sorted((chart.CHART / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}: {target['legendFormat']}", target["expr"]


async def _play(mesh: RunningMesh, seed: int) -> None:
    """The demonstration, and the one kind of long work it has none of."""
    async with AsyncChorale(home=mesh.state) as chorale:
        journey = Journey(chorale, compose(seed), lambda *_: None)
        chapters = await travel(journey, SECTIONS)
        assert {each.title: each.hindrance for each in chapters if each.hindrance} == {}
        request = reading_pb2.ExportAudioRequest(
            audio=journey.audio.name, encoding="ENCODING_FLAC", request_id=str(uuid.uuid4())
        )
        answer = reading_pb2.ExportAudioResponse
        await (await chorale.start(chorale.ingest.ExportAudio, request, answer))


def _is_answered(prometheus: Prometheus, query: str) -> bool:
    """Whether a dashboard would draw something: a number, and not only gaps."""
    asked = query.replace("$namespace", NAMESPACE).replace("$__rate_interval", "1m")
    found = prometheus.ask("query", query=asked)["result"]
    return any(not math.isnan(float(series["value"][1])) for series in found)


@pytest.mark.slow
def test_every_query_is_answered_and_no_alert_sounds(
    mesh: RunningMesh, collector: Collector, tmp_path: Path
) -> None:
    """Over the demonstration, played twice: a rate needs a second time."""
    metrics = {name: told["metrics"] for name, told in mesh.record()["services"].items()}
    with scraping(metrics, tmp_path) as prometheus:
        for seed in (21, 22):
            asyncio.run(_play(mesh, seed))
        asked = dict(_queries())
        assert len(asked) == len(list(_queries()))
        own = {name: text for name, text in asked.items() if not any(f in text for f in FOREIGN)}
        assert len(own) > 80  # the rest asks of devices, cluster volumes and operators
        silent, end = own, time.monotonic() + ANSWER_SECONDS_MAX
        while silent and time.monotonic() < end:
            time.sleep(1)
            silent = {n: text for n, text in silent.items() if not _is_answered(prometheus, text)}
        assert silent == {}
        alerts = prometheus.ask("alerts")["alerts"]
        assert [each["labels"] for each in alerts] == []  # none that waits to sound either
        _traces_are_linked(prometheus, collector)


def _traces_are_linked(prometheus: Prometheus, collector: Collector) -> None:
    """An exemplar of a latency names a trace that the collector has."""
    found = prometheus.ask(
        "query_exemplars",
        query="chorale_mastering_call_duration_seconds_bucket",
        start=str(time.time() - 600),
        end=str(time.time() + 60),
    )
    traces = [each["labels"]["trace_id"] for series in found for each in series["exemplars"]]
    assert traces
    assert collector.wait_for(traces[-1], lambda spans: len(spans) > 0)
