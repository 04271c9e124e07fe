"""Every entry of the ERRORS table is reached over the wire, with its code and reason."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import jwt
import numpy as np
import pytest
from chorale.audio.v1 import audio_pb2 as format_pb2
from chorale.ingest.v1 import (
    audio_pb2,
    reading_pb2,
    upload_pb2,
    usage_pb2,
)
from chorale_ingest.app import build
from chorale_ingest.servicer import ERRORS
from chorale_ingest.settings import Settings
from chorale_runtime.server import running
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.longrunning import operations_pb2, operations_pb2_grpc
from ingest_testing import (
    Ingest,
    connected,
    encoded,
    noise,
    refusal,
    refusal_of,
    sha256,
    song,
    stub,
)

Provocation = Callable[[Ingest], Awaitable[Any]]
NOTHING = f"audio/{'0' * 64}"


async def _audio_exists(ingest: Ingest) -> None:
    data = song(200, 500)
    await ingest.store(data)
    await ingest.start(len(data), sha256=sha256(data))


async def _contended(ingest: Ingest) -> None:
    upload = await ingest.start(1000)
    older = ingest.WriteUpload()
    await older.write(upload_pb2.WriteUploadRequest(upload=upload.name, data=b"x"))
    await asyncio.sleep(0.3)
    await ingest.write(upload.name, b"x")
    await older


async def _gap(ingest: Ingest) -> None:
    await ingest.write((await ingest.start(1000)).name, b"x", 5)


async def _mismatch(ingest: Ingest) -> None:
    await ingest.write((await ingest.start(1000)).name, b"x", crc32c=0)


async def _past_end(ingest: Ingest) -> None:
    await ingest.frames((await ingest.store(song(201, 500))).name, 500)


async def _reused(ingest: Ingest) -> None:
    request_id = str(uuid.uuid4())
    await ingest.start(1000, request_id=request_id)
    await ingest.start(1001, request_id=request_id)


async def _short(ingest: Ingest) -> None:
    await ingest.write((await ingest.start(1000)).name, b"x", finish=True)


async def _quota(ingest: Ingest) -> None:
    free = ingest.other(tier="free")
    for _ in range(4):
        await free.start(1000)


async def _too_long(ingest: Ingest) -> None:
    hour = encoded(np.zeros((8000 * 800, 1), np.int16), 8000, "FLAC")
    await ingest.other(tier="free").store(hour)


async def _undecodable(ingest: Ingest) -> None:
    await ingest.store(b"no sound at all")


async def _too_short(ingest: Ingest) -> None:
    free = ingest.other(tier="free")
    audio = await free.store(song(202))
    span = format_pb2.FrameSpan(frame_count=1)
    await free.CutAudio(audio_pb2.CutAudioRequest(name=audio.name, span=span))


async def _import(ingest: Ingest) -> None:
    key = f"imports/{ingest.principal}/nothing"
    await ingest.ImportObject(upload_pb2.ImportObjectRequest(key=key, request_id=str(uuid.uuid4())))


async def _cover(ingest: Ingest) -> None:
    audio = await ingest.store(song(203, 500))
    await ingest.SignUrl(reading_pb2.SignUrlRequest(audio=audio.name, cover=True))


PROVOCATIONS: dict[str, Provocation] = {
    "AudioExists": _audio_exists,
    "AudioNotFound": lambda ingest: ingest.get(NOTHING),
    "AudioTooLarge": lambda ingest: ingest.start(1 << 40),
    "AudioTooLong": _too_long,
    "AudioTooShort": _too_short,
    "ChecksumMismatch": _mismatch,
    "CoverNotFound": _cover,
    "ImportNotFound": _import,
    "PageTokenInvalid": lambda ingest: ingest.ListAudio(audio_pb2.ListAudioRequest(page_token="x")),
    "PrivacyForbidden": lambda ingest: ingest.other(tier="free").start(
        1000, details=upload_pb2.AudioDetails(privacy=audio_pb2.PRIVACY_PRIVATE)
    ),
    "QuotaExceeded": _quota,
    "RequestIdReused": _reused,
    "SpanPastEnd": _past_end,
    "StreamOutOfOrder": lambda ingest: ingest.WriteUpload([]),
    "Undecodable": _undecodable,
    "UploadContended": _contended,
    "UploadGap": _gap,
    "UploadNotFound": lambda ingest: ingest.committed(f"uploads/{uuid.uuid4()}"),
    "UploadSizeMismatch": _short,
}
OTHERWISE = {"QueueFull"}  # needs a service of its own, below


def test_every_entry_has_a_provocation() -> None:
    """No entry of the table goes untested."""
    assert {kind.__name__ for kind in ERRORS} == set(PROVOCATIONS) | OTHERWISE


@pytest.mark.parametrize("kind", sorted(ERRORS, key=str))
async def test_every_error_is_told(ingest: Ingest, kind: type[Exception]) -> None:
    """Code, reason and domain are the table's, and the text is a sentence."""
    if kind.__name__ in OTHERWISE:
        return
    found = await refusal(PROVOCATIONS[kind.__name__](ingest))
    assert (found.code, found.reason) == ERRORS[kind]
    assert found.message.endswith(".")


async def test_a_full_queue_is_told(settings: Settings) -> None:
    """More files than may wait are refused with a delay; what was sent is not lost."""
    small = replace(settings, decode_count=1, decode_waiting_max=0)
    async with connected(small) as ingest:
        files = [encoded(noise(44100 * 12, seed=210 + index)) for index in range(4)]
        uploads = [await ingest.start(len(file)) for file in files]
        replies = await asyncio.gather(
            *(
                ingest.write(upload.name, file, finish=True)
                for upload, file in zip(uploads, files, strict=True)
            ),
            return_exceptions=True,
        )
        full = [reply for reply in replies if isinstance(reply, grpc.aio.AioRpcError)]
        assert full
        for error in full:
            found = refusal_of(error)
            assert (found.code, found.reason) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "QUEUE_FULL",
            )
            assert "RetryInfo" in found.details
        for upload, file in zip(uploads, files, strict=True):
            assert await ingest.committed(upload.name) == len(file)
            assert (await ingest.write(upload.name, b"", len(file), finish=True)).HasField("audio")


async def test_what_is_for_services_is_for_services(settings: Settings, tmp_path: Path) -> None:
    """A user learns no object keys, registers nothing and watches nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys.pem").write_bytes(public)
    known = replace(settings, jwt_keys_file=str(tmp_path / "keys.pem"))
    claims = {"sub": "anna", "tier": "studio", "exp": time.time() + 600}
    token = jwt.encode(claims, key, algorithm="ES256")
    async with (
        running(known, build) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        anna = _Bearer(channel, token)
        audio = await anna.store(song(220, 500))
        assert not audio.HasField("pcm")
        register = upload_pb2.RegisterAudioRequest(
            sha256="0" * 64,
            format={"sample_rate_hz": 44100, "channel_count": 1},
            frame_count=1,
            owner="anna",
            provenance={},
        )
        watching = anna.WatchDeletions(usage_pb2.WatchDeletionsRequest())
        for call in (anna.RegisterAudio(register), anext(aiter(watching))):
            found = await refusal(call)
            assert (found.code, found.reason) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "CALL_FORBIDDEN",
            )
        anonymous = stub(channel)
        read = anonymous.ReadFrames(reading_pb2.ReadFramesRequest(audio=audio.name))
        assert (await refusal(anext(aiter(read)))).reason == "CREDENTIALS_MISSING"


class _Bearer(Ingest):
    """A caller with a token."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        super().__init__(channel)
        self._metadata = [("authorization", f"Bearer {token}")]


async def test_operations_are_served_like_everywhere(ingest: Ingest) -> None:
    """No call of this build starts one, so none is found; the service answers all the same."""
    get = operations_pb2_grpc.OperationsStub(ingest.channel).GetOperation
    name = f"operations/{uuid.uuid4()}"
    found = await refusal(get(operations_pb2.GetOperationRequest(name=name)))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND")
