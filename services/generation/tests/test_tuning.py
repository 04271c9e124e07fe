"""Training at a provider over the wire: a service in a process of its own, and Replicate's API."""

import asyncio
import json
import os
import signal
import uuid
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import pytest_asyncio
from chorale.generation.v1 import (
    datasets_pb2,
    generation_service_pb2_grpc,
    models_pb2,
    providers_pb2,
    training_pb2,
)
from google.longrunning import operations_pb2, operations_pb2_grpc
from replicate_server import KEY, VERSION, ReplicateServer
from replicate_server import serving as serving_replicate
from standing_ingest import Ingest
from standing_ingest import serving as serving_service
from test_registry import reason
from test_training_service import preparing, tune
from test_two_tracks import WAIT_SECONDS, asking, ended, info

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("tuning")]

TRAINER = "someone/tuner:abc"


class School:
    """A service in a process of its own that trains at a provider, and can be killed."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self._running = ExitStack()
        self.log = folder / "service.log"

    def start(self) -> None:
        """Starts it."""
        (self._folder / "announced.json").unlink(missing_ok=True)
        started = serving_service("chorale_generation", self._environment, self._folder)
        self.address, self._process = self._running.enter_context(started)
        self.channel = grpc.aio.insecure_channel(self.address)
        self.stub = generation_service_pb2_grpc.GenerationServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsStub(self.channel)

    async def kill(self) -> None:
        """Ends it by signal 9."""
        os.kill(self._process.pid, signal.SIGKILL)
        await self.close()

    async def close(self) -> None:
        """Ends it."""
        await self.channel.close(None)
        await asyncio.to_thread(self._running.close)

    async def ended(self, operation: Any) -> tuple[Any, list[str]]:
        """Watches an operation to its end."""
        return await ended(self.channel, operation)


@pytest.fixture(scope="module")
def replicate() -> Iterator[ReplicateServer]:
    """Where it trains."""
    with serving_replicate() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def school(
    postgres_url: str, ingest: Ingest, replicate: ReplicateServer, tmp_path_factory: Any
) -> AsyncIterator[School]:
    """That service, on a database of its own."""
    name = f"tuning_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    given = ingest.settings() | {
        "database_url": psycopg.conninfo.make_conninfo(postgres_url, dbname=name),
        "processes": "1",
        "replicate_url": replicate.url,
        "replicate_api_token": KEY,
        "replicate_trainer": TRAINER,
        "replicate_input": '{"drop_vocals": false}',
        "replicate_poll_seconds": "0.05",
        "replicate_tiers": "local,studio",
    }
    environment = {f"CHORALE_{key.upper()}": value for key, value in given.items()}
    school = School(environment, tmp_path_factory.mktemp("school"))
    school.start()
    yield school
    await school.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def dataset(school: School, ingest: Ingest) -> datasets_pb2.Dataset:
    """Four files, two of which are kept back."""
    names = [ingest.put(tune(4.2, seed), 24000).name for seed in range(4)]
    request = preparing(names, label="solo cello")
    done, _ = await school.ended(await school.stub.PrepareDataset(request))
    answer = datasets_pb2.PrepareDatasetResponse()
    assert done.response.Unpack(answer), done.error
    return answer.dataset


@pytest.fixture(autouse=True)
def calm(replicate: ReplicateServer) -> None:
    """A server that is well."""
    replicate.trouble.clear()
    replicate.lost.clear()
    replicate.asked.clear()
    replicate.key, replicate.status, replicate.error, replicate.log = KEY, "succeeded", "", ""


def request_of(dataset: datasets_pb2.Dataset, model: str, **said: Any) -> Any:
    """A request to train there."""
    details = models_pb2.ModelDetails(
        model=f"models/{model}", engine="replicate", licence="MIT", description="A cello."
    )
    given: dict[str, Any] = {"dataset": dataset.name, "request_id": str(uuid.uuid4())}
    return training_pb2.TrainModelRequest(details=details, **(given | said))


async def until(holds: Callable[[], bool]) -> None:
    """Waits for something to hold."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


async def begun(school: School, replicate: ReplicateServer, request: Any) -> tuple[Any, str]:
    """An operation whose training runs there, and goes on; with its identity there."""
    known = set(replicate.trainings)
    replicate.status = "processing"
    operation = await school.stub.TrainModel(request)

    def seen() -> list[str]:
        new = set(replicate.trainings) - known
        return [each for each in new if replicate.count(f"GET /v1/trainings/{each}")]

    await until(lambda: bool(seen()))
    return operation, seen()[0]


async def test_a_model_is_trained_there_and_registered_with_its_story(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """What learns is sent with its words; log lines are streamed; the key is told to nobody."""
    replicate.log = f"epoch 1\nepoch 2 {KEY}\n"
    request = request_of(dataset, "cello", settings=training_pb2.TrainingSettings(epochs=3))
    operation, identity = await begun(school, replicate, request)
    training = replicate.trainings[identity]
    assert (training["model"], training["version"]) == ("someone/tuner", "abc")
    assert training["destination"] == "studio/chorale-cello"
    assert (training["input"]["epochs"], training["input"]["drop_vocals"]) == (3, False)
    with replicate.archive(training) as archive:
        told = json.loads(archive.read("metadata.json"))
        learned = [item for item in dataset.items if not item.is_validation]
        assert [f"audio/{each['file'][:-4]}" for each in told] == [item.audio for item in learned]
        assert archive.read(told[0]["file"][:-4] + ".txt") == b"solo cello"
        with archive.open(told[0]["file"]) as file, wave.open(file) as sound:
            assert (sound.getframerate(), sound.getnframes()) == (24000, round(4.2 * 24000))
    replicate.status = "succeeded"
    done, stages = await school.ended(operation)
    answer = training_pb2.TrainModelResponse()
    assert done.response.Unpack(answer), done.error
    assert stages[-5:] == ["uploading", "starting", "training", "registering", "done"]
    model = answer.model
    assert (model.provider, model.provider_id, list(model.files)) == ("replicate", VERSION, [])
    assert (model.available, model.commercial_use) == (True, False)
    assert (model.dataset, model.trained_by) == (dataset.name, operation.name)
    told = answer.provenance.settings
    assert told["dataset.sha256"] == dataset.sha256
    assert (told["training"], told["trainer"], told["archive.items"]) == (identity, TRAINER, "2")
    assert (told["licence"], told["input.epochs"], answer.report.resumed_count) == ("MIT", "3", 0)
    stream = training_pb2.StreamTrainingRequest(operation=operation.name)
    points = [each async for each in school.stub.StreamTraining(stream)]
    assert [each.point.message for each in points[:-1]] == ["epoch 1", "epoch 2 [key]"]
    assert not replicate.files
    assert KEY not in school.log.read_text()
    kept = await school.stub.GetModel(models_pb2.GetModelRequest(name="models/cello"))
    assert kept.model == model
    again = request_of(dataset, "cello", base_model="models/cello/1", commercial_only=True)
    assert await reason(school.stub.TrainModel(again)) == "ENGINE_NONCOMMERCIAL"


async def test_a_failure_there_is_told_and_keeps_nothing(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """What the provider says of it is the error's detail; no model is there, and no data."""
    replicate.status, replicate.error = "failed", "CUDA out of memory"
    done, _ = await school.ended(await school.stub.TrainModel(request_of(dataset, "never")))
    found = info(done.error)
    assert (found.reason, found.metadata["detail"]) == ("PROVIDER_REFUSED", "CUDA out of memory")
    assert found.metadata["status"] == "failed"
    assert not replicate.files
    wanted = models_pb2.GetModelRequest(name="models/never")
    assert await reason(school.stub.GetModel(wanted)) == "MODEL_NOT_FOUND"


async def test_what_is_cancelled_here_is_cancelled_there(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """The training is stopped and its data deleted; the operation is over."""
    operation, identity = await begun(school, replicate, request_of(dataset, "never"))
    await school.operations.CancelOperation(
        operations_pb2.CancelOperationRequest(name=operation.name)
    )
    done, _ = await school.ended(operation)
    assert info(done.error).reason == "OPERATION_CANCELLED"
    await until(lambda: not replicate.files)
    assert replicate.trainings[identity]["status"] == "canceled"


@pytest.mark.slow
async def test_a_killed_service_goes_on_with_the_same_training(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """Killed by signal 9 while two train there: one goes on, one is cancelled meanwhile."""
    operation, identity = await begun(school, replicate, request_of(dataset, "killed"))
    doomed, other = await begun(school, replicate, request_of(dataset, "never"))
    uploads = len(replicate.files)
    await school.kill()
    replicate.asked.clear()
    school.start()
    await school.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=doomed.name))
    await until(lambda: replicate.trainings[other]["status"] == "canceled")
    replicate.status = "succeeded"
    done, _ = await school.ended(operation)
    answer = training_pb2.TrainModelResponse()
    assert done.response.Unpack(answer), done.error
    assert answer.provenance.settings["training"] == identity
    assert answer.report.resumed_count == 1
    assert (uploads, replicate.count("POST /v1/(files|.*trainings)")) == (2, 0)
    await school.ended(doomed)
    await until(lambda: not replicate.files)
    wanted = models_pb2.GetModelRequest(name="models/never")
    assert await reason(school.stub.GetModel(wanted)) == "MODEL_NOT_FOUND"


async def test_an_answer_that_is_lost_begins_no_second_training(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """The provider hung up after it had begun: the next attempt finds it by its data."""
    before = len(replicate.trainings)
    replicate.lost.append("POST /v1/models/.*/trainings")
    done, _ = await school.ended(await school.stub.TrainModel(request_of(dataset, "once")))
    answer = training_pb2.TrainModelResponse()
    assert done.response.Unpack(answer), done.error
    assert len(replicate.trainings) - before == 1
    assert replicate.count("POST /v1/files") == 1


async def test_while_it_asks_for_patience_a_training_is_only_looked_at_later(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """Too many requests, or a key refused for a moment, while it trains: it waits and ends well."""
    look = "GET /v1/trainings/.+"
    replicate.trouble[:] = [(look, 429, {"Retry-After": "1"}), (look, 401, {})]
    done, _ = await school.ended(await school.stub.TrainModel(request_of(dataset, "patient")))
    answer = training_pb2.TrainModelResponse()
    assert done.response.Unpack(answer), done.error
    assert not replicate.trouble


async def test_what_cannot_be_trained_there_is_refused(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """A wrong key or tier, settings no trainer is told, models from elsewhere; nothing is sent."""

    async def is_refused(**said: Any) -> str:
        return await reason(school.stub.TrainModel(request_of(dataset, "x", **said)))

    seed = training_pb2.TrainingSettings(seed=0)
    assert await is_refused(settings=seed) == "SETTING_UNSUPPORTED"
    assert await is_refused(stage_count=2) == "SETTING_UNSUPPORTED"
    assert await is_refused(base_model="models/none") == "MODEL_NOT_FOUND"
    assert await is_refused(commercial_only=True) == "ENGINE_NONCOMMERCIAL"
    request = request_of(datasets_pb2.Dataset(name=f"datasets/{uuid.uuid4()}"), "x")
    assert await reason(school.stub.TrainModel(request)) == "DATASET_NOT_FOUND"
    free = (("chorale-on-behalf-of", "ada"), ("chorale-on-behalf-of-tier", "free"))
    call = school.stub.TrainModel(request_of(dataset, "x"), metadata=free)
    assert await reason(call) == "TIER_FORBIDS"
    replicate.key = "another"
    assert await is_refused() == "PROVIDER_REFUSED"
    replicate.key = KEY
    operation = await school.stub.TrainModel(request_of(dataset, "x", validate_only=True))
    estimated = training_pb2.TrainModelResponse()
    assert operation.response.Unpack(estimated)
    assert estimated.estimate.output_bytes == 2 * 2 * round(4.2 * 24000)
    assert not replicate.count("POST .*")


async def test_models_that_live_there_are_registered(school: School, dataset: Any) -> None:
    """The same one twice is one; what needs files refuses it; it can be trained further."""
    details = models_pb2.ModelDetails(
        model="models/there", engine="replicate", licence="MIT", description="A harp."
    )
    request = models_pb2.RegisterModelRequest(
        details=details, provider="replicate", provider_id="someone/harp:1234"
    )
    model = (await school.stub.RegisterModel(request)).model
    assert (await school.stub.RegisterModel(request)).model == model
    assert (model.name, model.provider_id) == ("models/there/1", "someone/harp:1234")
    request.provider_id = "someone/harp:5678"
    assert (await school.stub.RegisterModel(request)).model.name == "models/there/2"
    request.details.version = "1"
    assert await reason(school.stub.RegisterModel(request)) == "MODEL_EXISTS"
    request.provider_id = "harp"
    assert await reason(school.stub.RegisterModel(request)) == "REQUEST_INVALID"
    request.provider = "elsewhere"
    assert await reason(school.stub.RegisterModel(request)) == "ENGINE_UNKNOWN"
    listed = await school.stub.ListModels(models_pb2.ListModelsRequest(engine="replicate"))
    assert model.name in [each.name for each in listed.models]
    cascade = asking((dataset.items[0].audio, dataset.items[1].audio), engine="encodec-cascade")
    cascade.cascade.codec = model.name
    assert await reason(school.stub.GenerateFromTracks(cascade)) == "WEIGHTS_MISSING"
    training = request_of(dataset, "x", base_model="models/there/2", validate_only=True)
    assert (await school.stub.TrainModel(training)).done


async def test_a_provider_that_fails_again_and_again_is_left_alone(
    school: School, replicate: ReplicateServer, dataset: datasets_pb2.Dataset
) -> None:
    """The list tells when it is asked again, and the error who else trains. The last test here."""
    wanted = providers_pb2.ListProvidersRequest(capability="training")
    (provider,) = (await school.stub.ListProviders(wanted)).providers
    assert provider.configured
    assert provider.state in (
        providers_pb2.PROVIDER_STATE_UP,
        providers_pb2.PROVIDER_STATE_DEGRADED,
    )
    replicate.trouble[:] = [(".*account", 500, {})] * 3
    for _ in range(3):
        assert await reason(school.stub.TrainModel(request_of(dataset, "x"))) == (
            "PROVIDER_UNAVAILABLE"
        )
    before = len(replicate.asked)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await school.stub.TrainModel(request_of(dataset, "x"))
    found = info(caught.value)
    assert (found.metadata["state"], len(replicate.asked)) == ("circuit_open", before)
    assert found.metadata["alternatives"] == "encodec-cascade"
    (provider,) = (await school.stub.ListProviders(wanted)).providers
    assert provider.state == providers_pb2.PROVIDER_STATE_CIRCUIT_OPEN
    assert provider.failure_count == 3
    assert provider.retry_time.seconds > provider.check_time.seconds + 200
