"""What the operation does that takes a model in."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chorale.audio.v1 import audio_pb2
from chorale.generation.v1 import models_pb2
from chorale_runtime.objects import Objects
from chorale_runtime.operations import Job

from chorale_generation import messages, worker
from chorale_generation.engines import ENGINES
from chorale_generation.messages.tracks import provenance
from chorale_generation.servicer.entries import entry
from chorale_generation.servicer.rooms import room
from chorale_generation.store.fetching import download
from chorale_generation.store.model_uploads import (
    ModelUpload,
    ModelUploads,
    UploadSizeMismatch,
    model_key,
)
from chorale_generation.store.models import ModelFile
from chorale_generation.store.registry import Registry

IMPORT = "chorale.generation.v1.GenerationService/ImportModel"


class ImportWorks:
    """Checks files that nobody vouches for, and registers them."""

    def __init__(
        self, uploads: ModelUploads, registry: Registry, objects: Objects, scratch_directory: str
    ) -> None:
        self._uploads, self._registry = uploads, registry
        self._objects, self._scratch = objects, scratch_directory

    async def import_model(
        self, job: Job[models_pb2.ImportModelRequest]
    ) -> models_pb2.ImportModelResponse:
        """Takes a model in, or refuses it with the first fault of its files."""
        started, request = time.monotonic(), job.request
        uploads = [await self._finished(job.owner, name) for name in request.uploads]
        details = request.details
        engine = next(each for each in ENGINES if each.name == details.engine)
        await job.progress("reading", 0.1)
        async with self._files(uploads) as paths:
            await job.progress("checking", 0.3)
            named = [(path, upload.file_name) for path, upload in zip(paths, uploads, strict=True)]
            await job.run(worker.check_model, named, engine.name, details.model)
        told = {"source": details.source, "code_licence": engine.code_licence}
        made_by = provenance("", engine, told, time.monotonic() - started)
        if request.validate_only:
            size = sum(upload.size_bytes for upload in uploads)
            estimate = audio_pb2.Estimate(engine=engine.name, device="cpu", output_bytes=size)
            return models_pb2.ImportModelResponse(estimate=estimate, provenance=made_by)
        await job.progress("registering", 0.9)
        files = tuple(ModelFile(each.file_name, each.sha256, each.size_bytes) for each in uploads)
        made = entry(details, engine, files, made_by.SerializeToString(deterministic=True))
        model = await self._registry.register(job.owner, made, request.alias)
        return models_pb2.ImportModelResponse(model=messages.model(model), provenance=made_by)

    async def _finished(self, owner: str, name: str) -> ModelUpload:
        upload = await self._uploads.find(owner, name)
        if not upload.finished:
            raise UploadSizeMismatch(name, upload.size_bytes, upload.committed_bytes)
        return upload

    @asynccontextmanager
    async def _files(self, uploads: list[ModelUpload]) -> AsyncIterator[list[str]]:
        """The files on disk, for as long as they are looked at."""
        async with room(self._scratch) as directory:
            paths = []
            for number, upload in enumerate(uploads):
                path = Path(directory, str(number))
                await download(self._objects, model_key(upload.sha256), path)
                paths.append(str(path))
            yield paths
