"""Fixtures of the client's tests: a memory ingest on a real socket, and a client of it."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the suite's own modules; tests are no package

from chorale_client import AsyncChorale
from loopback import PATIENCE, Served, serving
from memory_ingest import MemoryIngest


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
