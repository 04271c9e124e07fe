"""The calls that change the registry, and those that bring files of models in."""

from collections.abc import AsyncIterator, Mapping

import google_crc32c
from chorale.generation.v1 import models_pb2
from chorale_runtime import caller
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations, Work
from google.longrunning import operations_pb2

from chorale_generation import messages
from chorale_generation.engines import ENGINES, EngineUnknown
from chorale_generation.refusals import StreamOutOfOrder
from chorale_generation.servicer.importing import IMPORT
from chorale_generation.servicer.outside.replicate import Replicate
from chorale_generation.store.model_uploads import (
    ChecksumMismatch,
    ModelUpload,
    ModelUploads,
    UploadGap,
)
from chorale_generation.store.models import Model
from chorale_generation.store.registry import Registry

_PREFIX = "models/"
_PART_BYTES = 8 << 20


class ModelCalls:
    """Part of GenerationService."""

    _operations: Operations
    _works: Mapping[str, Work]
    _uploads: ModelUploads
    _registry: Registry
    _replicate: Replicate

    async def StartModelUpload(
        self, request: models_pb2.StartModelUploadRequest, _: Context
    ) -> models_pb2.StartModelUploadResponse:
        """Opens an upload, or returns the open one."""
        upload = await self._uploads.start(
            caller.current().principal,
            request.request_id,
            request.file_name,
            request.sha256,
            request.size_bytes,
        )
        return models_pb2.StartModelUploadResponse(upload=messages.upload(upload))

    async def WriteModelUpload(
        self, requests: AsyncIterator[models_pb2.WriteModelUploadRequest], _: Context
    ) -> models_pb2.WriteModelUploadResponse:
        """Stores bytes in order, from where the upload stands."""
        owner, upload, held = caller.current().principal, None, bytearray()
        async for request in requests:
            if upload is None:
                if not request.upload:
                    raise StreamOutOfOrder("upload in the first message")
                upload = await self._uploads.take(owner, request.upload)
            elif request.upload not in ("", upload.name):
                raise StreamOutOfOrder("one upload in all messages")
            held += _new(request, upload, len(held))
            if len(held) >= _PART_BYTES:
                upload, held = await self._uploads.append(upload, bytes(held)), bytearray()
            if request.finish:
                if held:
                    upload = await self._uploads.append(upload, bytes(held))
                upload = await self._uploads.finish(upload)
                return models_pb2.WriteModelUploadResponse(upload=messages.upload(upload))
        if upload is None:
            raise StreamOutOfOrder("upload in the first message")
        if held:
            upload = await self._uploads.append(upload, bytes(held))
        return models_pb2.WriteModelUploadResponse(upload=messages.upload(upload))

    async def GetModelUpload(
        self, request: models_pb2.GetModelUploadRequest, _: Context
    ) -> models_pb2.GetModelUploadResponse:
        """Tells how an upload stands."""
        upload = await self._uploads.find(caller.current().principal, request.name)
        return models_pb2.GetModelUploadResponse(upload=messages.upload(upload))

    async def CancelModelUpload(
        self, request: models_pb2.CancelModelUploadRequest, _: Context
    ) -> models_pb2.CancelModelUploadResponse:
        """Forgets an upload."""
        await self._uploads.cancel(caller.current().principal, request.name)
        return models_pb2.CancelModelUploadResponse()

    async def ImportModel(
        self, request: models_pb2.ImportModelRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts checking uploaded files; they are registered when nothing is wrong with them."""
        known = [engine.name for engine in ENGINES]
        if request.details.engine not in known:
            raise EngineUnknown(request.details.engine, "models", ",".join(known))
        for name in request.uploads:
            await self._uploads.find(caller.current().principal, name)
        return await self._operations.start(
            self._works[IMPORT], request, request_id=request.request_id
        )

    async def DeleteModel(
        self, request: models_pb2.DeleteModelRequest, _: Context
    ) -> models_pb2.DeleteModelResponse:
        """Lets go of a version."""
        await self._registry.delete(caller.current().principal, request.name)
        return models_pb2.DeleteModelResponse()

    async def SetAlias(
        self, request: models_pb2.SetAliasRequest, _: Context
    ) -> models_pb2.SetAliasResponse:
        """Points an alias at a version, or removes it."""
        found = await self._registry.set_alias(
            caller.current().principal,
            request.model.removeprefix(_PREFIX),
            request.alias,
            request.version,
        )
        return models_pb2.SetAliasResponse(model=self._told(found) if found else None)

    def _told(self, model: Model) -> models_pb2.Model:
        """A model, and what to do before one that lives at a provider can be used."""
        return messages.model(model, self._replicate.remedy if model.provider else "")


def _new(
    request: models_pb2.WriteModelUploadRequest, upload: ModelUpload, held_bytes: int
) -> bytes:
    """The bytes of a chunk that are not stored yet."""
    if request.HasField("crc32c"):
        found = google_crc32c.value(request.data)
        if found != request.crc32c:
            raise ChecksumMismatch("chunk", f"{request.crc32c:08x}", f"{found:08x}")
    if upload.finished:
        return b""
    stands = upload.committed_bytes + held_bytes
    if request.data and request.offset_bytes > stands:
        raise UploadGap(upload.name, request.offset_bytes, stands)
    return request.data[stands - request.offset_bytes :]
