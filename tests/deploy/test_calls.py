"""Who calls whom is said once: chart, code and documentation agree."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
import rendered_chart as chart
import yaml
from chorale_client.services import SERVICES


@pytest.fixture(scope="module")
def calls() -> dict[str, set[str]]:
    """`calls:` of the chart's values: the one statement of the mesh."""
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())["services"]
    return {name: set(said.get("calls", [])) for name, said in values.items()}


def _opened(service: str) -> set[str]:
    """The services to which the code opens channels: `channel(settings.X_address, ...)`."""
    folder = Path(str(importlib.import_module(f"chorale_{service}").__file__)).parent
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "channel":
                (address, *_) = node.args
                assert isinstance(address, ast.Attribute), ast.unparse(node)
                found.add(address.attr.removesuffix("_address"))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_services_open_channels_to_whom_the_chart_lets_them_call(
    calls: dict[str, set[str]], service: str
) -> None:
    """No row of settings is left unused, and no channel is opened that a policy would cut."""
    assert _opened(service) == calls[service]


def test_the_page_on_architecture_lists_the_same_calls(calls: dict[str, set[str]]) -> None:
    """The table of services says what they call, and says it of every service."""
    page = (chart.ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    told = {name: {each.strip() for each in said.split(",")} - {"\u2013"} for name, said in rows}
    assert {name: told[name] for name in SERVICES} == calls
