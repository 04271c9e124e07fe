"""The notes of an install judge it."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest
import rendered_chart as chart


def _notes(values: chart.Manifest) -> str:
    loaded = helm_python.Chart.load(str(chart.CHART))
    rendered = loaded.render(values, name="chorale", namespace="music")
    return next(text for name, text in rendered.items() if name.endswith("NOTES.txt"))


@pytest.mark.parametrize(
    ("case", "change", "judgement"),
    [
        ("minimal", {}, "the database is one pod without backups"),
        ("minimal", {}, "ingest may have one pod"),
        ("minimal", {"network": {"policies": False}}, "any pod may call any service"),
        ("minimal", {}, "the services speak without TLS"),
        ("minimal", {"identity": {"apiKeys": True}}, "services will refuse each other's calls"),
        ("edge", {"network": {"callers": []}}, "nobody reaches the edge"),
        ("edge", {"identity": {}}, "every call through the edge will be refused"),
        ("observability", {"monitoring": {"rules": True}}, "alerts stay quiet"),
        ("production", {}, "nobody is told of trouble"),
    ],
    ids=str,
)
def test_what_is_weak_is_said(case: str, change: dict[str, Any], judgement: str) -> None:
    """Each weakness has its warning."""
    assert f"WARNING: {judgement}" in _notes(chart.case(case) | change)


def test_an_install_without_weakness_gets_no_warning() -> None:
    """Three pods of each, storage of an operator, TLS, alerts: nothing to say."""
    values = chart.case("production") | {"monitoring": {"podMonitor": True, "rules": True}}
    assert "WARNING" not in _notes(values)
