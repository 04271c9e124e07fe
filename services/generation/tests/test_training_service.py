"""Data made ready, a codec and a cascade trained, over the wire."""

import asyncio
import os
import signal
import uuid
from importlib import resources
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from chorale.generation.v1 import (
    datasets_pb2,
    models_pb2,
    outputs_pb2,
    providers_pb2,
    training_pb2,
)
from chorale_audio.source import Store as Bucket
from chorale_generation.servicer.fetching import ModelFiles
from chorale_generation.servicer.training_asked import TrainingPlanner
from chorale_generation.servicer.trainings import Pace, TrainWorks
from chorale_generation.settings import Settings
from chorale_generation.store.datasets import Datasets
from chorale_generation.store.models import Store
from chorale_generation.store.registry import Registry
from chorale_generation.store.trainings import Trainings
from chorale_runtime import caller
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Job
from chorale_runtime.operations.work import Notes
from google.longrunning import operations_pb2, operations_pb2_grpc
from test_registry import reason
from test_two_tracks import WAIT_SECONDS, asking, ended, info, made

pytestmark = pytest.mark.asyncio(loop_scope="session")

RATE_HZ = 24000
SETTINGS = training_pb2.TrainingSettings(epochs=2, batch_size=4, seed=3)


def tune(seconds: float, seed: int) -> Any:
    """Bursts of noise and of a tone."""
    draws, count = np.random.default_rng(seed), round(seconds * RATE_HZ)
    moments = np.arange(count) / RATE_HZ
    noise = 0.5 * draws.uniform(-1.0, 1.0, count) * (2.0 * moments % 1.0 < 0.5)
    tone = 0.4 * np.sin(2 * np.pi * (200 + 200 * seed) * moments) * (moments % 1.0 < 0.6)
    return (noise + tone).astype(np.float32)[:, None]


def preparing(audio: list[str], **said: Any) -> datasets_pb2.PrepareDatasetRequest:
    """A request that takes four short files, two of which are kept back."""
    given: dict[str, Any] = {
        "title": "Tunes",
        "sample_rate_hz": RATE_HZ,
        "auto_label": False,
        "drop_vocals": False,
        "validation_share": 0.5,
        "minimum_count": 3,
        "minimum_seconds": 4.0,
        "request_id": str(uuid.uuid4()),
    }
    return datasets_pb2.PrepareDatasetRequest(audio=audio, **(given | said))


def codec_request(dataset: str, model: str, **said: Any) -> training_pb2.TrainCodecRequest:
    """A request to train a tiny codec."""
    details = models_pb2.ModelDetails(
        model=f"models/{model}", engine="encodec-cascade", licence="CC0-1.0"
    )
    given: dict[str, Any] = {
        "settings": SETTINGS,
        "warm_up_steps": 1,
        "bandwidth_kbps": 1.5,
        "request_id": str(uuid.uuid4()),
    }
    return training_pb2.TrainCodecRequest(details=details, dataset=dataset, **(given | said))


async def trained(channel: Any, operation: Any, answer: Any) -> Any:
    """Watches a training to its end."""
    done, stages = await ended(channel, operation)
    assert done.response.Unpack(answer), done.error
    assert {"reading", "training", "registering"} <= set(stages)
    return answer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def dataset(channel: Any, generation: Any, ingest: Any) -> datasets_pb2.Dataset:
    """Four files of 4.2 s, and one that is too short."""
    names = [ingest.put(tune(4.2, seed), RATE_HZ).name for seed in range(4)]
    short = ingest.put(tune(2, 9), RATE_HZ).name
    done, _ = await ended(channel, await generation.PrepareDataset(preparing([*names, short])))
    answer = datasets_pb2.PrepareDatasetResponse()
    assert done.response.Unpack(answer), done.error
    assert [each.audio for each in answer.dataset.rejections] == [short]
    return answer.dataset


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def codec(channel: Any, generation: Any, dataset: Any) -> training_pb2.TrainCodecResponse:
    """A codec trained on them without a break."""
    operation = await generation.TrainCodec(codec_request(dataset.name, "encodec-tiny"))
    answer: training_pb2.TrainCodecResponse = await trained(
        channel, operation, training_pb2.TrainCodecResponse()
    )
    return answer


async def test_datasets_are_split_named_and_deleted(
    channel: Any, generation: Any, ingest: Any, dataset: Any
) -> None:
    """The same audio and settings have the same digest; what is kept back is kept back again."""
    assert [item.duration_seconds for item in dataset.items] == pytest.approx([4.2] * 4)
    assert sum(item.is_validation for item in dataset.items) == 2
    names = [item.audio for item in dataset.items]
    done, _ = await ended(channel, await generation.PrepareDataset(preparing(names)))
    again = datasets_pb2.PrepareDatasetResponse()
    assert done.response.Unpack(again), done.error
    assert again.dataset.sha256 == dataset.sha256
    assert again.dataset.items == dataset.items
    listed = await generation.ListDatasets(datasets_pb2.ListDatasetsRequest(text="TUNES"))
    assert [each.name for each in listed.datasets][:2] == [again.dataset.name, dataset.name]
    delete = datasets_pb2.DeleteDatasetRequest(name=again.dataset.name)
    await generation.DeleteDataset(delete)
    assert await reason(generation.DeleteDataset(delete)) == "DATASET_NOT_FOUND"
    get = datasets_pb2.GetDatasetRequest(name=dataset.name)
    assert (await generation.GetDataset(get)).dataset == dataset


async def test_what_cannot_be_learned_from_is_refused(
    generation: Any, dataset: Any, codec: Any
) -> None:
    """Too few files, voices that nothing takes out, unknown data, engines, codecs, versions."""
    names = [item.audio for item in dataset.items]

    async def preparing_is(**said: Any) -> str:
        return await reason(generation.PrepareDataset(preparing(names, **said)))

    assert await preparing_is(minimum_count=0) == "DATASET_TOO_SMALL"
    assert await preparing_is(drop_vocals=True) == "SETTING_UNSUPPORTED"
    unknown = f"datasets/{uuid.uuid4()}"
    assert await reason(generation.TrainCodec(codec_request(unknown, "x"))) == "DATASET_NOT_FOUND"
    request = codec_request(dataset.name, "encodec-tiny")
    request.details.version = "1"
    assert await reason(generation.TrainCodec(request)) == "MODEL_EXISTS"
    request.details.engine = "bark"
    request.details.version = ""
    assert await reason(generation.TrainCodec(request)) == "ENGINE_UNKNOWN"
    cascade = training_pb2.TrainModelRequest(
        details=models_pb2.ModelDetails(model="models/x", engine="encodec-cascade"),
        dataset=dataset.name,
        codec="models/none",
        request_id=str(uuid.uuid4()),
    )
    assert await reason(generation.TrainModel(cascade)) == "WEIGHTS_MISSING"
    cascade.codec, cascade.base_model = codec.model.name, "models/none"
    assert await reason(generation.TrainModel(cascade)) == "MODEL_NOT_FOUND"
    cascade.base_model, cascade.validate_only = "", True
    operation = await generation.TrainModel(cascade)
    estimated = training_pb2.TrainModelResponse()
    assert operation.done
    assert operation.response.Unpack(estimated)
    assert estimated.estimate.seconds > 0


async def test_a_codec_is_trained_with_its_story(
    generation: Any, dataset: Any, codec: training_pb2.TrainCodecResponse
) -> None:
    """The model names data, settings, code and licence; its curve can be read again."""
    model = codec.model
    assert (model.name, model.licence, model.available) == (
        "models/encodec-tiny/1",
        "CC0-1.0",
        True,
    )
    assert model.dataset == dataset.name
    told = model.provenance.settings
    assert told["dataset.sha256"] == dataset.sha256
    assert told["code_version"]
    assert (told["seed"], told["settings.epochs"], told["warm_up_steps"]) == ("3", "2", "1")
    assert codec.report.ended_by == "epochs"
    assert len(codec.report.curve) == 2
    assert codec.report.curve[1].validation_loss == pytest.approx(model.metrics["validation_loss"])
    assert 0.0 < codec.codebook_usage <= 1.0
    assert np.isfinite(codec.reconstruction_snr_db)
    request = training_pb2.StreamTrainingRequest(operation=model.trained_by)
    points = [each async for each in generation.StreamTraining(request, timeout=WAIT_SECONDS)]
    steps = [each.point.step for each in points[:-1]]
    assert steps == list(range(1, len(steps) + 1))
    assert points[-1].is_final
    request.after_step = steps[-1] - 1
    rest = [each async for each in generation.StreamTraining(request, timeout=WAIT_SECONDS)]
    assert [each.point.step for each in rest] == [steps[-1], 0]


async def test_a_killed_training_makes_the_same_model(
    channel: Any, generation: Any, dataset: Any, codec: training_pb2.TrainCodecResponse
) -> None:
    """Its process killed by signal 9 in the middle, it goes on and ends with the same bytes."""
    operation = await generation.TrainCodec(codec_request(dataset.name, "encodec-killed"))
    request = training_pb2.StreamTrainingRequest(operation=operation.name)
    async for message in generation.StreamTraining(request, timeout=WAIT_SECONDS):
        if message.point.checkpoint and message.point.step >= 2:
            break
    for process in _workers():
        os.kill(process, signal.SIGKILL)
    answer = await trained(channel, operation, training_pb2.TrainCodecResponse())
    assert answer.report.resumed_count >= 1
    assert answer.model.files[0].sha256 == codec.model.files[0].sha256


async def test_an_attempt_that_is_lost_once_it_has_registered_is_the_last_to_train(
    ingest: Any, dataset: Any, codec: training_pb2.TrainCodecResponse
) -> None:
    """The next attempt answers what the lost one would have, with nothing to compute with.

    Left to it: a version that exists by now, and a row that names a checkpoint which is gone.
    """
    settings = Settings(**ingest.settings())
    request = codec_request(dataset.name, "encodec-tiny")
    request.details.version = "1"
    name = codec.model.trained_by
    migrations = resources.files("chorale_generation") / "migrations"
    async with (
        Database.open(settings.database_url, "generation", migrations) as database,
        Objects.of(settings) as objects,
    ):
        models, trainings = Store(database), Trainings(database, objects)
        datasets = Datasets(database, objects, Bucket.of(settings))
        planner, registry = TrainingPlanner(models, datasets, 60), Registry(database, models)
        pace = Pace(0.0, 0.0, 2, 32)
        files = ModelFiles(objects, "")
        works = TrainWorks(planner, datasets, trainings, registry, objects, files, pace, "")
        async with database.connection() as connection:
            row = (name.removeprefix("operations/"), 1)
            await connection.execute("INSERT INTO training (operation, step) VALUES (%s, %s)", row)
        found = await models.find("local", codec.model.name)
        job = Job(name, found.owner, 2, request, Notes(), None, "cpu")
        with caller.acting(caller.Caller(found.owner, "studio")):
            again = await works.train_codec(job)
        assert again == codec
        async with database.connection() as connection:
            rows = await connection.execute("SELECT FROM training WHERE operation = %s", row[:1])
            assert await rows.fetchone() is None


async def test_sound_of_a_dataset_that_never_came_to_be_goes_with_its_operation(
    ingest: Any, dataset: Any
) -> None:
    """Forgotten operations leave no sound; that of a dataset which is there stays."""
    settings = Settings(**ingest.settings())
    migrations = resources.files("chorale_generation") / "migrations"
    async with (
        Database.open(settings.database_url, "generation", migrations) as database,
        Objects.of(settings) as objects,
    ):
        datasets = Datasets(database, objects, Bucket.of(settings))
        unborn = uuid.uuid4()
        await datasets.keep_sound(unborn, "audio/x", b"sound")
        left = {}
        for identity in (str(unborn), dataset.name.removeprefix("datasets/")):
            await datasets.forget_unborn(f"operations/{identity}")
            folder = f"generation/datasets/{identity}/"
            left[identity] = [each async for each in objects.list(folder)]
        assert not left[str(unborn)]
        assert len(left[dataset.name.removeprefix("datasets/")]) == len(dataset.items)


async def test_a_cascade_is_trained_and_makes_a_track(
    channel: Any, generation: Any, dataset: Any, codec: training_pb2.TrainCodecResponse
) -> None:
    """Trained, and trained further; codec and cascade of our own make one track of two."""
    asked: dict[str, Any] = {
        "details": models_pb2.ModelDetails(model="models/tiny", engine="encodec-cascade"),
        "dataset": dataset.name,
        "settings": training_pb2.TrainingSettings(epochs=1, batch_size=4, seed=3),
        "codec": codec.model.name,
    }
    models = []
    for base in ("", "models/tiny/1"):
        training = training_pb2.TrainModelRequest(
            base_model=base, request_id=str(uuid.uuid4()), **asked
        )
        operation = await generation.TrainModel(training)
        answer = await trained(channel, operation, training_pb2.TrainModelResponse())
        assert answer.report.ended_by == "epochs"
        assert np.isfinite(answer.report.curve[-1].validation_loss)
        models.append(answer.model)
    assert [model.parent for model in models] == ["", "models/tiny/1"]
    tracks = (dataset.items[0].audio, dataset.items[1].audio)
    request = asking(
        tracks,
        engine="encodec-cascade",
        seed=1,
        output=outputs_pb2.OutputSettings(duration_seconds=2.0),
    )
    request.cascade.codec, request.cascade.model = codec.model.name, models[1].name
    _, result, _ = await made(channel, generation, request)
    assert result.generation.frame_count == 2 * RATE_HZ
    digests = [codec.model.files[0].sha256, models[1].files[0].sha256]
    assert [each.sha256 for each in result.provenance.weights] == digests
    assert result.masks.track_1_mean + result.masks.track_2_mean == pytest.approx(1.0)


async def test_a_cancelled_training_keeps_nothing(
    channel: Any, generation: Any, dataset: Any
) -> None:
    """Cancelled in the middle it has ended within moments, and no model is there."""
    settings = training_pb2.TrainingSettings(epochs=10_000, seed=1)
    request = codec_request(dataset.name, "never", settings=settings)
    operation = await generation.TrainCodec(request)
    async for _ in generation.StreamTraining(
        training_pb2.StreamTrainingRequest(operation=operation.name), timeout=WAIT_SECONDS
    ):
        break
    stub = operations_pb2_grpc.OperationsStub(channel)
    await stub.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    async with asyncio.timeout(20):  # a second, where no other work waits for the cores
        done, _ = await ended(channel, operation)
    assert done.HasField("error")
    wanted = models_pb2.GetModelRequest(name="models/never")
    assert await reason(generation.GetModel(wanted)) == "MODEL_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in generation.StreamTraining(
            training_pb2.StreamTrainingRequest(operation=operation.name), timeout=WAIT_SECONDS
        ):
            pass
    assert info(caught.value).reason == "OPERATION_UNFIT"


async def test_without_a_key_nothing_is_sent(generation: Any) -> None:
    """Where none is set, the call is refused with what to do, and the list says the same."""
    request = training_pb2.TrainModelRequest(
        details=models_pb2.ModelDetails(model="models/x", engine="replicate"),
        dataset=f"datasets/{uuid.uuid4()}",
        request_id=str(uuid.uuid4()),
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generation.TrainModel(request)
    found = info(caught.value)
    assert found.reason == "PROVIDER_NOT_CONFIGURED"
    assert found.metadata["alternatives"] == "encodec-cascade"
    listed = await generation.ListProviders(providers_pb2.ListProvidersRequest())
    by_name = {each.name: each for each in listed.providers}
    assert by_name["openai"].configured
    provider = by_name["replicate"]
    assert provider.state == providers_pb2.PROVIDER_STATE_NOT_CONFIGURED
    assert provider.remedy == found.metadata["remedy"]
    assert "CHORALE_REPLICATE_API_TOKEN" in provider.remedy


def _workers() -> list[int]:
    """The worker processes of all services in this process."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid() and b"processes_child" in command:
            found.append(int(entry.name))
    return found
