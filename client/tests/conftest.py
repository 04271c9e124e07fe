"""Fixtures of the client's tests: a memory ingest on a real socket, and a client of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from chorale_client import AsyncChorale
from chorale_client.background import Background
from loopback import PATIENCE, Served, SmallMesh, serving
from memory_ingest import MemoryIngest
from memory_mastering import MemoryMastering


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A memory ingest on a real socket."""
    ingest = MemoryIngest()
    async with serving(ingest.add_to) as port:
        yield Served(ingest, port)


@pytest.fixture
async def chorale(served: Served) -> AsyncIterator[AsyncChorale]:
    """A client of that server."""
    async with AsyncChorale(served.address, patience=PATIENCE) as client:
        yield client


@pytest.fixture
def small_mesh() -> Iterator[SmallMesh]:
    """Memory ingest and mastering behind one port, served from a loop in another thread."""
    background = Background()
    mesh = SmallMesh(MemoryIngest(), MemoryMastering())
    server = serving(mesh.ingest.add_to, mesh.mastering.add_to, mesh.health.add_to)
    mesh.port = background.run(server.__aenter__)
    yield mesh
    background.run(server.__aexit__, None, None, None)
    background.close()
