"""Fixtures of ingest's tests: the service as a process of its own, on real storage."""

import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from chorale_ingest.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package: this is how they share

from ingest_testing import Ingest, Process, settings_on


@pytest.fixture
def settings(database_url: str, object_server: Any, bucket: str) -> Settings:
    """Settings of a service on fresh storage."""
    return settings_on(database_url, object_server, bucket)


@pytest.fixture(scope="session")
def shared_settings(postgres_url: str, object_server: Any) -> Settings:
    """Settings of the service that most tests share, each as a principal of its own."""
    name = f"ingest-{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    return settings_on(url, object_server, name)


@pytest.fixture(scope="session")
def service(
    shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """The service that most tests share."""
    process = Process(shared_settings, tmp_path_factory.mktemp("ingest"))
    process.start()
    yield process
    assert process.stop() == 0, process.log()


@pytest.fixture
async def ingest(service: Process) -> AsyncIterator[Ingest]:
    """A caller that nobody was before."""
    async with grpc.aio.insecure_channel(service.address) as channel:
        yield Ingest(channel).other()
