"""What a service hands to the runtime: its gRPC services, its errors, its probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.descriptor import ServiceDescriptor

from chorale_runtime.errors import ErrorTable
from chorale_runtime.probes import Probe
from chorale_runtime.settings import ServerSettings

S = TypeVar("S", bound=ServerSettings)


@dataclass(frozen=True)
class Service:
    """One gRPC service: its contract, what answers it, and the generated function that joins them.

    Service(ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
            IngestServicer(...), ingest_service_pb2_grpc.add_IngestServiceServicer_to_server)
    """

    descriptor: ServiceDescriptor
    servicer: object
    add: Callable[[Any, Any], None]
    open: bool = False
    """Whether anyone may call it, without credentials or limits: health and reflection."""
    counted: bool = True
    """Whether its calls count towards the caller's requests per hour."""


@dataclass(frozen=True)
class App:
    """A built service, ready to be called."""

    name: str
    """The service's short name, such as `ingest`."""
    services: Sequence[Service]
    errors: ErrorTable = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    deadlines: Mapping[str, float] = field(default_factory=dict)
    """Default deadlines in seconds by RPC, `chorale.ingest.v1.IngestService/GetAudio`."""


Build = Callable[[S], AbstractAsyncContextManager[App]]
"""Makes the app: opens what it needs, yields it, closes what it opened."""
