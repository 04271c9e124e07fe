"""Handing finished files to ingest, so that they are their owner's audio like any other."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import (
    audio_pb2,
    ingest_service_pb2_grpc,
    reading_pb2,
    upload_pb2,
)
from chorale_audio.answers import raise_typed
from chorale_runtime import caller
from chorale_runtime.caller import Caller
from chorale_runtime.identity import SERVICE_TIER
from google.api import httpbody_pb2

URL_SECONDS = 86_400
_CHUNK_BYTES = 1 << 20
_PUT_SECONDS, _ASK_SECONDS = 1800.0, 60.0


@dataclass(frozen=True)
class Filed:
    """What ingest is told of a file."""

    path: str
    file_name: str
    parents: Sequence[str]
    provenance: engine_pb2.Provenance


class Shelf:
    """Stores files as audio of the running call's caller.

    Uploads know no parents, and registering knows no file. So a file is uploaded under a name of
    the service's own, kept apart for each owner, then registered for its owner with its parents,
    and the service lets go of it again. Storing the same file twice leaves one audio.
    """

    def __init__(self, ingest: ingest_service_pb2_grpc.IngestServiceStub) -> None:
        self._ingest = ingest

    async def file_name(self, audio: str) -> str:
        """The name under which audio came."""
        request = audio_pb2.GetAudioRequest(name=audio)
        try:
            found = await self._ingest.GetAudio(request, timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise_typed(error, audio)
        return str(found.audio.file_name)

    async def keep(self, filed: Filed) -> audio_pb2.Audio:
        """Makes a file the caller's audio."""
        owner = caller.current()
        try:
            with caller.acting(_staging(owner)):
                stored = (await self._ingest.PutAudio(_pieces(filed), timeout=_PUT_SECONDS)).audio
            answer = await self._ingest.RegisterAudio(
                upload_pb2.RegisterAudioRequest(
                    sha256=stored.name.removeprefix("audio/"),
                    format=stored.format,
                    frame_count=stored.frame_count,
                    owner=owner.principal,
                    parents=filed.parents,
                    provenance=filed.provenance,
                    file_name=filed.file_name,
                ),
                timeout=_ASK_SECONDS,
            )
            await self._let_go(stored.name, owner)
        except grpc.aio.AioRpcError as error:
            raise_typed(error, filed.file_name)
        audio: audio_pb2.Audio = answer.audio
        return audio

    async def _let_go(self, audio: str, owner: Caller) -> None:
        request = audio_pb2.DeleteAudioRequest(name=audio)
        try:
            with caller.acting(_staging(owner)):
                await self._ingest.DeleteAudio(request, timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            # Another job of this owner made the same file, and let go of it first.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    async def sign(self, audio: str, file_name: str) -> reading_pb2.SignUrlResponse:
        """A URL under which anybody who holds it can download the file for 24 h."""
        request = reading_pb2.SignUrlRequest(audio=audio, file_name=file_name)
        request.lifetime.seconds = URL_SECONDS
        try:
            answer: reading_pb2.SignUrlResponse = await self._ingest.SignUrl(
                request, timeout=_ASK_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise_typed(error, audio)
        return answer


def _staging(owner: Caller) -> Caller:
    """Who uploads for an owner: made sound counts towards no limit on uploads."""
    digest = hashlib.sha256(owner.principal.encode()).hexdigest()
    return Caller(f"mastering/{digest[:32]}", SERVICE_TIER, is_service=True)


async def _pieces(filed: Filed) -> AsyncIterator[upload_pb2.PutAudioRequest]:
    with Path(filed.path).open("rb") as file:  # noqa: ASYNC230 - from the page cache, 1 MiB
        while data := file.read(_CHUNK_BYTES):
            body = httpbody_pb2.HttpBody(data=data)
            yield upload_pb2.PutAudioRequest(file_name=filed.file_name, body=body)
