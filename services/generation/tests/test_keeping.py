"""What is kept of sound that is made, and of models in use, beside real stores."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
import pytest_asyncio
from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale_generation.servicer.fetching import ModelFiles
from chorale_generation.settings import Settings
from chorale_generation.store.model_uploads import model_key
from chorale_generation.store.models import Model, ModelFile
from chorale_generation.store.pieces import Pieces, Stream
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture
async def objects(settings: Settings) -> AsyncIterator[Objects]:
    """That bucket."""
    async with Objects.of(settings) as objects:
        yield objects


async def test_what_was_heard_stays_as_it_was(settings: Settings, objects: Objects) -> None:
    """An attempt after a lost one gets the frames that one kept, and only adds what is missing."""
    migrations = resources.files("chorale_generation") / "migrations"
    async with Database.open(settings.database_url, "generation", migrations) as database:
        pieces, operation = Pieces(database, objects), f"operations/{uuid.uuid4()}"
        form = audio_pb2.PcmFormat(sample_rate_hz=24000, channel_count=1)
        stream = Stream(form, 4, engine_pb2.Provenance(engine_used="mosaic"))
        await pieces.begin(operation, stream)
        lost, new, rest = b"lost" * 2, b"newer" + b"...", b"rest" * 2
        assert await pieces.add(operation, 0, lost, 2) == lost
        await pieces.begin(operation, stream)
        assert await pieces.add(operation, 0, new, 2) == lost
        assert await pieces.add(operation, 2, rest, 2) == rest
        found = [each async for each in pieces.frames(operation, stream, 1, 1 << 20)]
        assert b"".join(found) == lost[4:] + rest
        await pieces.forget(operation)
        assert await pieces.stream(operation) is None


async def test_files_of_models_stay_while_they_are_used(objects: Objects, tmp_path: Path) -> None:
    """Of eleven models one stays in use: its file is there, and those of the last eight others."""
    models = []
    for number in range(11):
        data = f"weights {number}".encode()
        digest = hashlib.sha256(data).hexdigest()
        await objects.put(model_key(digest), data)
        models.append(model(ModelFile("m.safetensors", digest, len(data))))
    files = ModelFiles(objects, str(tmp_path))
    async with files.held(models[:1]) as (first,):
        for each in models[1:]:
            async with files.held([each]) as (held,):
                assert contents(tmp_path)[held.sha256].startswith(b"weights ")
        left = contents(tmp_path)
        assert left[first.sha256] == b"weights 0"
        assert set(left) == {each.files[0].sha256 for each in (models[0], *models[3:])}


def contents(directory: Path) -> dict[str, bytes]:
    """Every file in a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def model(file: ModelFile) -> Model:
    """A model of one file."""
    return Model(
        owner="ada",
        model="m",
        version="1",
        title="",
        description="",
        engine="encodec-cascade",
        capability="two_tracks",
        files=(file,),
        licence="",
        commercial_use=False,
        provider="",
        provider_id="",
        instrument="",
        style="",
        provenance=None,
        trained_by="",
        dataset="",
        parent="",
        metrics={},
        create_time=datetime.now(UTC),
        aliases=(),
    )
