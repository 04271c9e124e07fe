"""A real ingest beside which named audio is read and written."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chorale.ingest.v1 import ingest_service_pb2_grpc
from chorale_audio.reader import AudioReader
from chorale_audio.source import Store
from chorale_audio.writer import AudioWriter
from chorale_mesh.objects import EmbeddedObjects
from chorale_runtime import caller
from chorale_runtime.channels import channel
from chorale_runtime.objects import Objects
from standing_ingest import Ingest, standing


@pytest.fixture(scope="session")
def ingest(
    postgres_url: str, object_server: EmbeddedObjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ingest]:
    """One ingest for all tests of this package."""
    with standing(postgres_url, object_server, tmp_path_factory.mktemp("ingest")) as ingest:
        yield ingest


@pytest.fixture(scope="session")
def store(ingest: Ingest) -> Store:
    """The bucket in which that ingest keeps PCM."""
    return Store(
        endpoint=ingest.objects.endpoint,
        access_key=ingest.objects.access_key,
        secret_key=ingest.objects.secret_key,
        bucket=ingest.bucket,
    )


@pytest_asyncio.fixture
async def objects(store: Store) -> AsyncIterator[Objects]:
    """The same bucket, on the event loop."""
    async with Objects.open(
        endpoint=store.endpoint,
        access_key=store.access_key,
        secret_key=store.secret_key,
        bucket=store.bucket,
    ) as objects:
        yield objects


@pytest_asyncio.fixture
async def stub(ingest: Ingest) -> AsyncIterator[ingest_service_pb2_grpc.IngestServiceStub]:
    """What calls ingest, for the caller `local`."""
    async with channel(ingest.address) as to_ingest:
        with caller.acting(caller.LOCAL):
            yield ingest_service_pb2_grpc.IngestServiceStub(to_ingest)


@pytest.fixture
def reader(
    stub: ingest_service_pb2_grpc.IngestServiceStub, objects: Objects, store: Store
) -> AudioReader:
    """Reads what ingest stores."""
    return AudioReader(stub, objects, store)


@pytest.fixture
def writer(stub: ingest_service_pb2_grpc.IngestServiceStub, objects: Objects) -> AudioWriter:
    """Writes what becomes named audio there."""
    return AudioWriter(stub, objects)
