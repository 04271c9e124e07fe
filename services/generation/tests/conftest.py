"""A real generation service beside a real ingest, analysis and mastering."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import chorale_analysis.app
import chorale_analysis.settings
import chorale_mastering.app
import chorale_mastering.settings
import grpc
import pytest
import pytest_asyncio
from chorale.generation.v1 import generation_service_pb2_grpc
from chorale_generation.app import build
from chorale_generation.settings import Settings
from chorale_mesh.objects import EmbeddedObjects
from chorale_runtime.server import running
from language_model import LanguageModel, serving
from standing_ingest import Ingest, standing


@pytest.fixture
def settings(database_url: str, object_server: EmbeddedObjects, bucket: str) -> Settings:
    """Settings of a generation service on a database and a bucket of this test's own."""
    return Settings(
        database_url=database_url,
        objects_endpoint=object_server.endpoint,
        objects_access_key=object_server.access_key,
        objects_secret_key=object_server.secret_key,
        objects_bucket=bucket,
    )


@pytest.fixture(scope="session")
def ingest(
    postgres_url: str, object_server: EmbeddedObjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ingest]:
    """One ingest for all tests of this service."""
    with standing(postgres_url, object_server, tmp_path_factory.mktemp("ingest")) as ingest:
        yield ingest


@pytest.fixture(scope="session")
def language_model() -> Iterator[LanguageModel]:
    """What rephrases explanations."""
    with serving() as model:
        yield model


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(ingest: Ingest, language_model: LanguageModel) -> AsyncIterator[str]:
    """Where a generation service is served that stands beside all it calls."""
    given = ingest.settings()
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        analysis = await enter(
            running(
                chorale_analysis.settings.Settings(processes=1, **given),
                chorale_analysis.app.build,
            )
        )
        mastering = await enter(
            running(
                chorale_mastering.settings.Settings(processes=1, **given),
                chorale_mastering.app.build,
            )
        )
        settings = Settings(
            processes=1,
            train_lap_seconds=0.0,  # a step a lap, and a checkpoint after each
            train_checkpoint_seconds_max=0.0,
            train_codec_filters=2,
            train_codec_entries=32,
            openai_url=language_model.url,
            openai_model="tiny",
            analysis_address=analysis.address,
            mastering_address=mastering.address,
            **given,
        )
        yield (await enter(running(settings, build))).address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to that service."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="session")
def generation(channel: grpc.aio.Channel) -> generation_service_pb2_grpc.GenerationServiceStub:
    """What calls that service."""
    return generation_service_pb2_grpc.GenerationServiceStub(channel)
