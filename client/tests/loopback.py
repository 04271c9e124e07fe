"""Servers on loopback: what the client's tests talk to."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from chorale_client import Patience
from grpc_health.v1 import health_pb2, health_pb2_grpc
from memory_ingest import MemoryIngest
from memory_mastering import MemoryMastering

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


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Says of every service what `status` says."""

    def __init__(self) -> None:
        self.status = health_pb2.HealthCheckResponse.SERVING

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves it."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    async def Check(self, request: Any, context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=self.status)


@dataclass
class SmallMesh:
    """Ingest and mastering behind one port."""

    ingest: MemoryIngest
    mastering: MemoryMastering
    health: Health = field(default_factory=Health)
    port: int = 0

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(
    *add: Callable[[grpc.aio.Server], Any], port: int = 0, receive_bytes: int = (1 << 20) + 65536
) -> AsyncIterator[int]:
    """A grpc.aio server with these services; yields its port."""
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", receive_bytes)]
    )
    for one in add:
        one(server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
