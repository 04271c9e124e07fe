"""Every service this client can reach: lines opened on first use, stubs made once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from chorale_client import addresses, services
from chorale_client.addresses import Address
from chorale_client.calls import Wire
from chorale_client.credentials import Credentials
from chorale_client.errors import RequestError
from chorale_client.line import ChannelFactory, Line, Metadata, dial
from chorale_client.patience import Patience


class Mesh:
    """Lines and stubs by service. Belongs to one event loop."""

    def __init__(
        self,
        found: Mapping[str, Address],
        *,
        credentials: Credentials,
        patience: Patience,
        metadata: Metadata = (),
        home_dir: Path,
        channel_factory: ChannelFactory | None = None,
    ) -> None:
        self.found = dict(found)
        self.patience = patience
        self._credentials = credentials
        self._metadata = metadata
        self._home_dir = home_dir
        self._channel_factory = channel_factory
        self._lines: dict[str, Line] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[tuple[str, str], Any] = {}

    @property
    def services(self) -> list[str]:
        """The services that can be found, in the order of the mesh."""
        return [name for name in services.SERVICES if name in self.found]

    def line(self, service: str) -> Line:
        """The line to a service. Services behind one address share its channel."""
        if service not in services.SERVICES:
            raise RequestError(
                f"There is no service {service!r}; the mesh has {', '.join(services.SERVICES)}.",
                reason="REQUEST_INVALID",
            )
        if service not in self.found:
            raise addresses.missing(service, self.found, self._home_dir)
        address = self.found[service]
        if service not in self._lines:
            self._lines[service] = Line(
                service,
                address,
                self._channel(service, address),
                self._credentials,
                self.patience,
                self._metadata,
            )
        return self._lines[service]

    def _channel(self, service: str, address: Address) -> grpc.aio.Channel:
        key = service if self._channel_factory is not None else address.target
        if key not in self._channels:
            self._channels[key] = (
                self._channel_factory(service)
                if self._channel_factory is not None
                else dial(address, self._credentials)
            )
        return self._channels[key]

    def stub(self, service: str) -> Any:
        """The generated stub of a service."""
        return self._stub(service, "own", lambda: services.stub_class(service))

    def operations_service(self, service: str) -> Any:
        """`chorale.operations.v1.OperationsService` as a service serves it."""
        from chorale.operations.v1 import operations_service_pb2_grpc

        return self._stub(
            service, "watch", lambda: operations_service_pb2_grpc.OperationsServiceStub
        )

    def longrunning(self, service: str) -> Any:
        """`google.longrunning.Operations` as a service serves it."""
        from google.longrunning import operations_pb2_grpc

        return self._stub(service, "longrunning", lambda: operations_pb2_grpc.OperationsStub)

    def health(self, service: str) -> Any:
        """`grpc.health.v1.Health` as a service serves it."""
        from grpc_health.v1 import health_pb2_grpc

        return self._stub(service, "health", lambda: health_pb2_grpc.HealthStub)

    async def close(self) -> None:
        """Hangs up. What still runs on the lines is cancelled."""
        channels, self._channels = list(self._channels.values()), {}
        self._lines.clear()
        self._stubs.clear()
        for channel in channels:
            await channel.close(None)

    def _stub(self, service: str, kind: str, make: Any) -> Any:
        if (service, kind) not in self._stubs:
            wire = Wire(self.line(service))
            self._stubs[service, kind] = make()(wire)
        return self._stubs[service, kind]
