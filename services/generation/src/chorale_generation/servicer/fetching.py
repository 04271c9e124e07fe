"""Files of models on this machine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chorale.engines.v1 import engine_pb2
from chorale_runtime.objects import Objects

from chorale_generation.cascade.asked import ModelPath
from chorale_generation.engines import Engine
from chorale_generation.refusals import WeightsMissing
from chorale_generation.store.fetching import download
from chorale_generation.store.model_uploads import model_key
from chorale_generation.store.models import Model

_IDLE_MOST = 8  # files that stay although nothing uses them


class ModelFiles:
    """Weights in a directory: fetched once, kept while they are used, and a while longer."""

    def __init__(self, objects: Objects, directory: str) -> None:
        self._objects, self._directory = objects, Path(directory)
        self._fetching = asyncio.Lock()
        self._users: Counter[str] = Counter()
        self._idle: list[str] = []  # the longest idle first

    @asynccontextmanager
    async def held(self, models: Sequence[Model]) -> AsyncIterator[list[ModelPath]]:
        """The weights of models on disk, for as long as they are used."""
        digests = [model.files[0].sha256 for model in models]
        for digest in digests:
            self._users[digest] += 1
            if digest in self._idle:
                self._idle.remove(digest)
        try:
            yield [await self._fetched(model) for model in models]
        finally:
            for digest in digests:
                self._let_go(digest)

    async def _fetched(self, model: Model) -> ModelPath:
        digest = model.files[0].sha256
        path = self._directory / digest
        async with self._fetching:
            if not path.exists():
                partial = path.with_suffix(".partial")
                await download(self._objects, model_key(digest), partial)
                partial.replace(path)
        return ModelPath(str(path), model.name, digest)

    def _let_go(self, digest: str) -> None:
        self._users[digest] -= 1
        if self._users[digest] > 0:
            return
        del self._users[digest]
        self._idle.append(digest)
        while len(self._idle) > _IDLE_MOST:
            (self._directory / self._idle.pop(0)).unlink(missing_ok=True)


def with_files(model: Model, engine: Engine) -> Model:
    """The model; raises `WeightsMissing` for one that lives at a provider and has no files."""
    if not model.files:
        raise WeightsMissing(engine.name, model.name, engine.remedy, model.provider)
    return model


def weights_of(model: Model) -> engine_pb2.Weights:
    """A model as provenance tells it; of several files the first, of none no digest."""
    digest = model.files[0].sha256 if model.files else ""
    return engine_pb2.Weights(name=model.name, licence=model.licence, sha256=digest)
