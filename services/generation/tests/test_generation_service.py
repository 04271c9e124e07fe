"""GenerationService over the wire: real database, storage and sockets."""

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from chorale.audio.v1 import audio_pb2
from chorale.generation.v1 import generation_service_pb2, models_pb2, prompt_pb2, tracks_pb2
from chorale_client import AsyncChorale, ChoraleError
from chorale_generation.app import build
from chorale_generation.settings import Settings
from chorale_runtime.server import running

As = Callable[[str], AsyncChorale]
AUDIO = "audio/" + "0" * 64
NO_REMEDY = "None yet: this build cannot run it."


@pytest_asyncio.fixture
async def mesh(settings: Settings) -> AsyncIterator[As]:
    """A generation service, and clients of it in anybody's name."""
    clients: list[AsyncChorale] = []
    async with running(settings, build) as server:

        def client(owner: str) -> AsyncChorale:
            on_behalf = (("chorale-on-behalf-of", owner),)
            addresses = {"generation": server.address}
            clients.append(AsyncChorale(addresses=addresses, metadata=on_behalf))
            return clients[-1]

        yield client
        for each in clients:
            await each.close()


@pytest.fixture
def ada(mesh: As) -> AsyncChorale:
    """One who asks."""
    return mesh("ada")


async def _register(settings: Settings, owner: str, model: str, version: str, **said: Any) -> None:
    """Puts a row into the registry, as importing will."""
    connection = await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True)
    async with connection:
        await connection.execute(
            """INSERT INTO generation.model (owner, model, version, title, engine, capability,
               files, licence) VALUES (%s, %s, %s, %s, %s, 'two_tracks',
               '[{"name": "model.safetensors", "sha256": "ab", "size_bytes": 3}]', %s)""",
            (owner, model, version, model.title(), said.get("engine", "encodec-cascade"), "MIT"),
        )


def _two_tracks(**said: Any) -> tracks_pb2.GenerateFromTracksRequest:
    clip = audio_pb2.Clip(audio=AUDIO)
    request_id = str(uuid.uuid4())
    return tracks_pb2.GenerateFromTracksRequest(
        track_1=clip, track_2=clip, request_id=request_id, **said
    )


async def test_engines_are_told_honestly(ada: AsyncChorale) -> None:
    """Every engine says its licences, and whether it can work here; the mosaic can."""
    told = {engine.name: engine for engine in await ada.engines("generation")}
    assert {"mosaic", "encodec-cascade", "musicgen-medium", "bark"} <= told.keys()
    assert {name for name, engine in told.items() if engine.available} == {"mosaic", "chorale"}
    assert {name for name, engine in told.items() if not engine.remedy} == {"mosaic", "chorale"}
    assert told["musicgen-small"].remedy == NO_REMEDY
    assert "chorale train codec" in told["encodec-cascade"].remedy
    cascade = told["encodec-cascade"]
    assert not cascade.commercial_use
    assert [(weights.name, weights.licence) for weights in cascade.weights] == [
        ("models/encodec-24khz", "CC-BY-NC-4.0"),
        ("models/cascade", "Apache-2.0"),
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"engine": "kazoo"}, "ENGINE_UNKNOWN"),
        ({"engine": "musicgen-small"}, "ENGINE_UNKNOWN"),
        ({"engine": "encodec-cascade", "commercial_only": True}, "ENGINE_NONCOMMERCIAL"),
        ({"seed": -1}, "REQUEST_INVALID"),
    ],
)
async def test_what_cannot_be_made_says_why(
    ada: AsyncChorale, said: dict[str, Any], reason: str
) -> None:
    """Nothing is made up: every refusal has its reason."""
    with pytest.raises(ChoraleError) as caught:
        await ada.generation.GenerateFromTracks(_two_tracks(**said))
    assert caught.value.reason == reason


async def test_the_registry_begins_empty(ada: AsyncChorale) -> None:
    """Without imports there is no model, and asking for one is NOT_FOUND."""
    assert not (await ada.generation.ListModels(models_pb2.ListModelsRequest())).models
    with pytest.raises(ChoraleError) as caught:
        await ada.generation.GetModel(models_pb2.GetModelRequest(name="models/starter"))
    assert caught.value.reason == "MODEL_NOT_FOUND"


async def test_models_are_found_by_version_and_latest(
    ada: AsyncChorale, settings: Settings
) -> None:
    """A version is found by its number; `latest`, or nothing, means the newest."""
    for version in ("1", "2"):
        await _register(settings, "", "starter", version)
    for name, expected in (
        ("models/starter/1", "models/starter/1"),
        ("models/starter/latest", "models/starter/2"),
        ("models/starter", "models/starter/2"),
    ):
        answer = await ada.generation.GetModel(models_pb2.GetModelRequest(name=name))
        assert answer.model.name == expected
    assert list(answer.model.aliases) == ["latest"]
    assert answer.model.kind == models_pb2.MODEL_KIND_BASE
    assert [file.name for file in answer.model.files] == ["model.safetensors"]


async def test_owners_see_base_models_and_their_own(mesh: As, settings: Settings) -> None:
    """A stranger's model is neither listed nor found; one's own goes before a base model."""
    await _register(settings, "", "starter", "1")
    await _register(settings, "ada", "starter", "mine")
    await _register(settings, "ada", "secret", "1")
    eve, ada = mesh("eve"), mesh("ada")
    listed = await eve.generation.ListModels(models_pb2.ListModelsRequest())
    assert [model.name for model in listed.models] == ["models/starter/1"]
    with pytest.raises(ChoraleError):
        await eve.generation.GetModel(models_pb2.GetModelRequest(name="models/secret"))
    own = await ada.generation.GetModel(models_pb2.GetModelRequest(name="models/starter"))
    assert own.model.name == "models/starter/mine"
    tuned = models_pb2.ListModelsRequest(kind=models_pb2.MODEL_KIND_FINE_TUNED)
    names = [model.name for model in (await ada.generation.ListModels(tuned)).models]
    assert names == ["models/secret/1", "models/starter/mine"]


async def test_lists_page_by_name_newest_first(ada: AsyncChorale, settings: Settings) -> None:
    """Pages join to the whole list; a token of another list is refused."""
    for model, version in (("b", "1"), ("a", "1"), ("b", "2")):
        await _register(settings, "", model, version)
    seen, request = [], models_pb2.ListModelsRequest(page_size=2)
    first = await ada.generation.ListModels(request)
    request.page_token = first.next_page_token
    second = await ada.generation.ListModels(request)
    seen = [model.name for page in (first, second) for model in page.models]
    assert seen == ["models/a/1", "models/b/2", "models/b/1"]
    assert not second.next_page_token
    engines = generation_service_pb2.ListEnginesRequest(page_token=first.next_page_token)
    with pytest.raises(ChoraleError) as caught:
        await ada.generation.ListEngines(engines)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_what_is_not_served_yet_says_so(ada: AsyncChorale) -> None:
    """An RPC of a later build answers NOT_SERVED."""
    request = prompt_pb2.GenerateFromPromptRequest(prompt="rain", request_id=str(uuid.uuid4()))
    with pytest.raises(ChoraleError) as caught:
        await ada.generation.GenerateFromPrompt(request)
    assert caught.value.reason == "NOT_SERVED"


def test_starting_imports_no_torch() -> None:
    """The service is wired without torch, numpy or an engine: they wait for work."""
    script = "import sys, chorale_generation.app; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    assert not {"torch", "numpy", "encodec", "librosa"} & set(ran.stdout.split())
