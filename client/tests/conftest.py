"""Real servers on loopback for the client's tests."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the suite's own modules; tests are no package

from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_client import AsyncChorale, Patience
from memory_ingest import MemoryIngest

PATIENCE = Patience(
    connect_seconds=5, call_seconds=10, retry_seconds=5, transfer_seconds=60, operation_seconds=30
)


@dataclass
class Served:
    """A server and where it answers."""

    ingest: MemoryIngest
    port: int

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(*add: Callable[[grpc.aio.Server], Any], port: int = 0) -> AsyncIterator[int]:
    """A grpc.aio server with these services; yields its port."""
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", (1 << 20) + 65536)]
    )
    for one in add:
        one(server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[int]]:
    """`serving`, for tests that need more than ingest."""
    return serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A memory ingest on a real socket."""
    ingest = MemoryIngest()

    def add(server: grpc.aio.Server) -> None:
        ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(ingest, server)

    async with serving(add) as port:
        yield Served(ingest, port)


@pytest.fixture
async def chorale(served: Served) -> AsyncIterator[AsyncChorale]:
    """A client of that server."""
    async with AsyncChorale(served.address, patience=PATIENCE) as client:
        yield client
