"""Servers on loopback: what the client's tests talk to."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from chorale_client import Patience
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
