"""A real ingest and a real mastering service beside it."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio
from chorale.mastering.v1 import mastering_service_pb2_grpc
from chorale_mastering.app import build
from chorale_mastering.settings import Settings
from chorale_mesh.objects import EmbeddedObjects
from chorale_runtime.server import running
from standing_ingest import Ingest, standing


@pytest.fixture(scope="session")
def ingest(
    postgres_url: str, object_server: EmbeddedObjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ingest]:
    """One ingest for all tests of this service."""
    with standing(postgres_url, object_server, tmp_path_factory.mktemp("ingest")) as ingest:
        yield ingest


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(ingest: Ingest) -> AsyncIterator[str]:
    """Where a mastering service that stands beside it is served."""
    settings = Settings(
        processes=1,
        live_meters_max=1,
        live_masters_max=1,
        live_seconds_max=10,
        presets_per_owner_max=2,
        **ingest.settings(),
    )
    async with running(settings, build) as server:
        yield server.address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to that service."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="session")
def mastering(channel: grpc.aio.Channel) -> mastering_service_pb2_grpc.MasteringServiceStub:
    """What calls that service."""
    return mastering_service_pb2_grpc.MasteringServiceStub(channel)
