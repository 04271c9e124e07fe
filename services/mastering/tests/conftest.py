"""A real ingest and a real mastering service beside it."""

import subprocess
from collections.abc import AsyncIterator, Iterator

import grpc
import numpy as np
import pytest
import pytest_asyncio
import signals
from chorale.ingest.v1 import audio_pb2
from chorale.mastering.v1 import mastering_service_pb2_grpc
from chorale_mesh.objects import EmbeddedObjects
from standing_ingest import Ingest, serving, standing

Running = tuple[str, "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def ingest(
    postgres_url: str, object_server: EmbeddedObjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ingest]:
    """One ingest for all tests of this service."""
    with standing(postgres_url, object_server, tmp_path_factory.mktemp("ingest")) as ingest:
        yield ingest


@pytest.fixture(scope="session")
def noise(ingest: Ingest) -> audio_pb2.Audio:
    """Two seconds of pink noise that are stored once, for all that need but some sound."""
    return ingest.put(signals.pink_noise(2, seed=3) * np.float32(0.3))


@pytest.fixture(scope="session")
def service(ingest: Ingest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One mastering service beside it for all tests, in a process of its own as at a user's."""
    settings = {
        "processes": 1,
        "live_meters_max": 1,
        "live_masters_max": 1,
        "live_seconds_max": 10,
        "presets_per_owner_max": 2,
        **ingest.settings(),
    }
    environment = {f"CHORALE_{name.upper()}": str(value) for name, value in settings.items()}
    folder = tmp_path_factory.mktemp("mastering")
    with serving("chorale_mastering", environment, folder) as running:
        yield running


@pytest.fixture(scope="session")
def address(service: Running) -> str:
    """Where it is served."""
    return service[0]


@pytest.fixture(scope="session")
def process_id(service: Running) -> int:
    """The process that serves it."""
    return service[1].pid


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to that service."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="session")
def mastering(channel: grpc.aio.Channel) -> mastering_service_pb2_grpc.MasteringServiceStub:
    """What calls that service."""
    return mastering_service_pb2_grpc.MasteringServiceStub(channel)
