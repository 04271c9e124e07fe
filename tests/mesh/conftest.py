"""One mesh, and one collector of its traces, for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chorale_client import Chorale
from collector import Collector, collecting
from running_mesh import RunningMesh, start, stop


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the mesh tells its traces."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[RunningMesh]:
    """One mesh of everything that is installed, for all tests of this folder."""
    running = start(
        tmp_path_factory.mktemp("mesh") / "state", "--set", f"otlp_endpoint={collector.address}"
    )
    yield running
    stop(running)


@pytest.fixture(scope="session")
def chorale(mesh: RunningMesh) -> Iterator[Chorale]:
    """A client of that mesh."""
    with mesh.client() as client:
        yield client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all tests of a mesh: another would start one more."""
    for item in items:
        shared = {"mesh", "outage_mesh", "guarded"}.intersection(getattr(item, "fixturenames", ()))
        if Path(__file__).parent in item.path.parents and shared:
            item.add_marker(pytest.mark.xdist_group("-".join(sorted(shared))))
