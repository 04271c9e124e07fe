"""A real ingest and a real analysis service beside it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from chorale.analysis.v1 import analysis_service_pb2_grpc
from chorale_analysis.app import build
from chorale_analysis.settings import Settings
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


@pytest.fixture(scope="session")
def weights_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where that service looks for weights. Nothing lies there but what a test brings."""
    return tmp_path_factory.mktemp("weights")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(ingest: Ingest, weights_directory: Path) -> AsyncIterator[str]:
    """Where an analysis service is served that stands beside it."""
    settings = Settings(
        processes=1,
        listen_seconds_max=60.0,
        weights_directory=str(weights_directory),
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
def analysis(channel: grpc.aio.Channel) -> analysis_service_pb2_grpc.AnalysisServiceStub:
    """What calls that service."""
    return analysis_service_pb2_grpc.AnalysisServiceStub(channel)
