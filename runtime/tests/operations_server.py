"""The small service of `operations_work` as a process of its own, which tests may kill.

`python -m operations_server` with the settings that every service has.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import operations_work as service
from chorale_runtime.app import App, Service
from chorale_runtime.database import Database
from chorale_runtime.operations import Operations, Policy, Queues
from chorale_runtime.processes import Processes
from chorale_runtime.server import serve
from chorale_runtime.settings import DeviceSettings
from google.longrunning import operations_pb2 as longrunning_pb
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.struct_pb2 import Struct

SERVICE, QUEUE = "test.v1.TestService", "test.cpu"


@dataclass(frozen=True)
class Settings(DeviceSettings):
    """No rows of its own."""


class Servicer:
    """Starts operations."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def Start(self, request: Struct, context: Any) -> Any:
        """Start what the request says, under the request_id that it says."""
        asked = Struct()
        asked.CopyFrom(request)
        request_id = asked.fields.pop("request_id").string_value
        return await self._operations.start(service.work(), asked, request_id)


def descriptor() -> Any:
    """The contract of the service: one RPC."""
    file = descriptor_pb2.FileDescriptorProto(
        name="test/v1/test_service.proto",
        package="test.v1",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto", Operation.file.name],
    )
    made = file.service.add(name="TestService")
    made.method.add(
        name="Start",
        input_type=".google.protobuf.Struct",
        output_type=f".{Operation.full_name}",
    )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(SERVICE)


Operation = longrunning_pb.Operation.DESCRIPTOR


def add(servicer: Servicer, server: Any) -> None:
    """Join contract and servicer."""
    handlers = {
        "Start": grpc.unary_unary_rpc_method_handler(
            servicer.Start,
            request_deserializer=Struct.FromString,
            response_serializer=longrunning_pb.Operation.SerializeToString,
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Open what the service stands on."""
    policy = Policy(
        stalled_seconds=2.5, heartbeat_seconds=0.6, sweep_seconds=0.4, drain_seconds=1.0
    )
    async with (
        Database.open(settings.database_url, "test") as database,
        Processes.open(count=2) as processes,
        Operations.open(
            database,
            [service.work(attempts_max=10)],
            service.ERRORS,
            "test.chorale",
            processes=processes,
            policy=policy,
            slots={QUEUE: 3},
            queues=Queues.of(settings),
        ) as operations,
    ):
        yield App(
            "test",
            [Service(descriptor(), Servicer(operations), add), *operations.services()],
            errors=service.ERRORS,
            probes={"database": database.probe},
        )


if __name__ == "__main__":
    serve(Settings, build)
