"""Files of models on this machine, for as long as work needs them."""

from pathlib import Path

from chorale.engines.v1 import engine_pb2
from chorale_runtime.objects import Objects

from chorale_generation.cascade.asked import ModelPath
from chorale_generation.store.model_uploads import model_key
from chorale_generation.store.models import Model


async def fetched(objects: Objects, model: Model, path: Path) -> ModelPath:
    """The weights of a model on disk; of several files the first."""
    file = model.files[0]
    with path.open("wb") as stored:
        async for data in objects.read(model_key(file.sha256)):
            stored.write(data)
    return ModelPath(str(path), model.name, file.sha256)


def weights_of(model: Model) -> engine_pb2.Weights:
    """A model as provenance tells it."""
    return engine_pb2.Weights(name=model.name, licence=model.licence, sha256=model.files[0].sha256)
