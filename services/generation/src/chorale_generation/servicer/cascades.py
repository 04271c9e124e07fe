"""Two tracks through codec and cascade: finding the weights, and what the operation does."""

import time
from pathlib import Path

from chorale.generation.v1 import outputs_pb2, tracks_pb2
from chorale_runtime import caller
from chorale_runtime.operations import Job

from chorale_generation import worker
from chorale_generation.engines import Engine
from chorale_generation.messages import tracks as messages
from chorale_generation.refusals import WeightsMissing
from chorale_generation.servicer import keeping
from chorale_generation.servicer.cascading import Cascading
from chorale_generation.servicer.fetching import ModelFiles, weights_of, with_files
from chorale_generation.servicer.planning import Making
from chorale_generation.servicer.rooms import room
from chorale_generation.servicer.training_asked import CODEC
from chorale_generation.store.models import Model, ModelNotFound, Store
from chorale_generation.store.pieces import Pieces, Stream
from chorale_generation.store.shelf import Shelf

_CASCADE = "models/cascade"


class CascadeWorks:
    """What the operation does for the engine `encodec-cascade`."""

    def __init__(
        self,
        models: Store,
        files: ModelFiles,
        cascading: Cascading,
        pieces: Pieces,
        shelf: Shelf,
        scratch_directory: str,
    ) -> None:
        self._models, self._files, self._cascading = models, files, cascading
        self._pieces, self._shelf, self._scratch = pieces, shelf, scratch_directory

    async def weights(
        self, request: tracks_pb2.GenerateFromTracksRequest, engine: Engine
    ) -> tuple[Model, Model]:
        """The codec and the cascade of a request; raises `WeightsMissing`."""
        codec = await self._found(request.cascade.codec or CODEC, engine)
        return codec, await self._found(request.cascade.model or _CASCADE, engine)

    async def generate(
        self, job: Job[tracks_pb2.GenerateFromTracksRequest], asked: Making, seed: int
    ) -> tracks_pb2.GenerateFromTracksResponse:
        """Makes one track of two."""
        started, request = time.monotonic(), job.request
        models = await self.weights(request, asked.engine)
        lufs = request.output.loudness_lufs if request.output.HasField("loudness_lufs") else None
        async with room(self._scratch) as directory, self._files.held(models) as (codec, cascade):
            await job.progress("reading", 0.1)
            await job.run(worker.read_pair, asked.sources, asked.output, directory)
            files = (codec, cascade)
            made = await self._cascading.make(job, files, directory, asked.cascade)
            await job.progress("decoding", 0.8)
            path = Path(directory, keeping.FRAMES)
            task = worker.CascadeTask(directory, asked.cascade)
            frames = await job.run(worker.finish_cascade, task, asked.output, lufs, seed, str(path))
            told = messages.cascade_said(asked.cascade, asked.output, seed, frames.notches_hz)
            made_by = messages.provenance(
                request.engine, asked.engine, told, time.monotonic() - started
            )
            made_by.device = made.device
            made_by.weights.extend(weights_of(model) for model in models)
            stream = Stream(messages.pcm_format(asked.output), frames.frame_count, made_by)
            await self._pieces.begin(job.name, stream)
            data = path.read_bytes()  # noqa: ASYNC240 - page cache
            await self._pieces.add(job.name, 0, data, frames.frame_count)
            audio, url = await keeping.kept(
                job, self._shelf, asked.output, asked.title, directory, made_by
            )
        generation = outputs_pb2.Generation(
            audio=audio.name,
            url=url,
            seed=seed,
            format=stream.format,
            frame_count=frames.frame_count,
            concessions=made.concessions,
        )
        return tracks_pb2.GenerateFromTracksResponse(
            audio=audio.name, provenance=made_by, seed=seed, generation=generation
        )

    async def _found(self, name: str, engine: Engine) -> Model:
        try:
            found = await self._models.find(caller.current().principal, name)
        except ModelNotFound as error:
            raise WeightsMissing(engine.name, name, engine.remedy) from error
        return with_files(found, engine)
