"""Models over the wire: brought in, refused, named, let go of."""

import asyncio
import hashlib
import io
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from chorale.generation.v1 import models_pb2
from test_two_tracks import ended, info

pytestmark = pytest.mark.asyncio(loop_scope="session")


def weights(number: float) -> bytes:
    """A file as torch writes it."""
    file = io.BytesIO()
    torch.save({"a": torch.full((100,), number)}, file)
    return file.getvalue()


def starting(data: bytes, **said: Any) -> models_pb2.StartModelUploadRequest:
    """The announcement of a file."""
    given: dict[str, Any] = {
        "file_name": "model.pt",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "request_id": str(uuid.uuid4()),
    }
    return models_pb2.StartModelUploadRequest(**(given | said))


def chunks(
    name: str, data: bytes, offset: int = 0, finish: bool = True, chunk_bytes: int = 700
) -> Iterator[Any]:
    """All bytes from an offset on, in small messages."""
    for at in range(offset, len(data), chunk_bytes):
        yield models_pb2.WriteModelUploadRequest(
            upload=name, offset_bytes=at, data=data[at : at + chunk_bytes]
        )
    yield models_pb2.WriteModelUploadRequest(upload=name, offset_bytes=len(data), finish=finish)


async def uploaded(generation: Any, data: bytes, chunk_bytes: int = 700) -> str:
    """A finished upload."""
    upload = (await generation.StartModelUpload(starting(data))).upload
    part = chunks(upload.name, data, chunk_bytes=chunk_bytes)
    done = (await generation.WriteModelUpload(part)).upload
    assert done.finished
    return str(done.name)


async def imported(channel: Any, generation: Any, data: bytes, **said: Any) -> Any:
    """What importing a file comes to: the operation, done."""
    details = models_pb2.ModelDetails(
        model=said.pop("model"), version=said.pop("version", ""), engine="bark", licence="MIT"
    )
    request = models_pb2.ImportModelRequest(
        details=details,
        uploads=[await uploaded(generation, data)],
        request_id=str(uuid.uuid4()),
        **said,
    )
    return (await ended(channel, await generation.ImportModel(request)))[0]


def model(operation: Any) -> models_pb2.Model:
    """The model that an import ended with."""
    answer = models_pb2.ImportModelResponse()
    assert operation.response.Unpack(answer), operation.error
    return answer.model


async def reason(call: Any) -> str:
    """Why a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return str(info(caught.value).reason)


async def test_an_upload_resumes_where_it_stands(generation: Any) -> None:
    """Cut off, asked, written on, finished twice; the same request finds it again."""
    data = np.random.default_rng(1).bytes(5000)
    request = starting(data)
    name = (await generation.StartModelUpload(request)).upload.name
    assert (await generation.StartModelUpload(request)).upload.name == name
    part = chunks(name, data[:2100], finish=False)
    assert (await generation.WriteModelUpload(part)).upload.committed_bytes == 2100
    asked = models_pb2.GetModelUploadRequest(name=name)
    stands = (await generation.GetModelUpload(asked)).upload
    assert (stands.committed_bytes, stands.finished) == (2100, False)
    assert await reason(generation.WriteModelUpload(chunks(name, data, 2800))) == "UPLOAD_GAP"
    for _ in range(2):  # bytes that are there already are skipped
        assert (await generation.WriteModelUpload(chunks(name, data))).upload.finished
    await generation.CancelModelUpload(models_pb2.CancelModelUploadRequest(name=name))
    assert await reason(generation.GetModelUpload(asked)) == "UPLOAD_NOT_FOUND"


async def test_what_is_wrong_with_an_upload_is_said(generation: Any) -> None:
    """Another digest, another size, another order, another request, too much: each by its name."""
    data = b"x" * 1000

    async def opened(**said: Any) -> str:
        upload = (await generation.StartModelUpload(starting(data, **said))).upload
        return str(upload.name)

    def write(*requests: models_pb2.WriteModelUploadRequest) -> Any:
        return generation.WriteModelUpload(iter(requests))

    name = await opened(sha256="0" * 64)
    assert await reason(write(*chunks(name, data))) == "CHECKSUM_MISMATCH"
    name = await opened()
    torn = models_pb2.WriteModelUploadRequest(upload=name, data=b"xy", crc32c=1)
    assert await reason(write(torn)) == "CHECKSUM_MISMATCH"
    assert await reason(write(*chunks(name, data[:10]))) == "UPLOAD_SIZE_MISMATCH"
    assert await reason(write(models_pb2.WriteModelUploadRequest())) == "STREAM_OUT_OF_ORDER"
    request_id = str(uuid.uuid4())
    await opened(request_id=request_id)
    other = starting(b"other", request_id=request_id)
    assert await reason(generation.StartModelUpload(other)) == "REQUEST_ID_REUSED"
    large = starting(data, size_bytes=64 << 30)
    assert await reason(generation.StartModelUpload(large)) == "QUOTA_EXCEEDED"


async def test_the_last_stream_writes(generation: Any) -> None:
    """A second stream takes an upload over; the first one is told UPLOAD_CONTENDED."""
    data = b"y" * 2000
    name = (await generation.StartModelUpload(starting(data))).upload.name
    first = generation.WriteModelUpload()
    part = models_pb2.WriteModelUploadRequest(upload=name, data=data[:1000])
    await first.write(part)
    await asyncio.sleep(1.0)  # until it has the upload
    second = generation.WriteModelUpload(chunks(name, data))
    assert (await second).upload.finished
    await first.write(
        models_pb2.WriteModelUploadRequest(offset_bytes=1000, data=data[1000:], finish=True)
    )
    await first.done_writing()
    assert await reason(first) in ("UPLOAD_CONTENDED", "UPLOAD_SIZE_MISMATCH")


async def test_a_model_is_imported_named_and_deleted(channel: Any, generation: Any) -> None:
    """Versions count on, aliases point, a version that is pointed at stays, the rest can go."""
    first = model(await imported(channel, generation, weights(1.0), model="models/lamp"))
    assert first.name == "models/lamp/1"
    assert (first.licence, first.commercial_use, first.available) == ("MIT", True, True)
    assert first.files[0].sha256 == hashlib.sha256(weights(1.0)).hexdigest()
    again = model(await imported(channel, generation, weights(1.0), model="models/lamp"))
    assert again.name == first.name
    second = await imported(channel, generation, weights(2.0), model="models/lamp", alias="stable")
    assert list(model(second).aliases) == ["latest", "stable"]
    clash = await imported(channel, generation, weights(3.0), model="models/lamp", version="1")
    assert info(clash.error).reason == "MODEL_EXISTS"
    delete = models_pb2.DeleteModelRequest(name="models/lamp/2")
    assert await reason(generation.DeleteModel(delete)) == "MODEL_IN_USE"
    point = models_pb2.SetAliasRequest(model="models/lamp", alias="stable", version="1")
    assert (await generation.SetAlias(point)).model.name == "models/lamp/1"
    found = await generation.GetModel(models_pb2.GetModelRequest(name="models/lamp/stable"))
    assert found.model.name == "models/lamp/1"
    await generation.DeleteModel(delete)
    assert await reason(generation.DeleteModel(delete)) == "MODEL_NOT_FOUND"
    point.version = "2"
    assert await reason(generation.SetAlias(point)) == "MODEL_NOT_FOUND"
    clashing = models_pb2.SetAliasRequest(model="models/lamp", alias="1", version="1")
    assert await reason(generation.SetAlias(clashing)) == "MODEL_EXISTS"
    point.version = ""
    assert not (await generation.SetAlias(point)).HasField("model")


async def test_hostile_models_are_refused_and_nothing_is_kept(
    channel: Any, generation: Any
) -> None:
    """A pickle that runs code fails the import with its fault; the registry stays as it was."""
    file = io.BytesIO()
    torch.save({"a": print}, file)
    done = await imported(channel, generation, file.getvalue(), model="models/evil")
    told = info(done.error)
    assert (told.reason, told.metadata["fault"]) == ("MODEL_REFUSED", "pickle")
    wanted = models_pb2.GetModelRequest(name="models/evil")
    assert await reason(generation.GetModel(wanted)) == "MODEL_NOT_FOUND"


async def test_an_untrained_cascade_is_not_trained(channel: Any, generation: Any) -> None:
    """Weights of the right shape that were never trained are refused as NOT_TRAINED."""
    from chorale_generation.cascade.network import Cascade, Shape

    file = io.BytesIO()
    torch.save(dict(Cascade(Shape(stage_count=1)).state_dict()), file)
    request = models_pb2.ImportModelRequest(
        details=models_pb2.ModelDetails(model="models/cascade", engine="encodec-cascade"),
        uploads=[await uploaded(generation, file.getvalue())],
        request_id=str(uuid.uuid4()),
    )
    done, _ = await ended(channel, await generation.ImportModel(request))
    assert info(done.error).reason == "NOT_TRAINED"
