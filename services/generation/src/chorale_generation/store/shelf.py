"""Handing made sound to ingest, so that it is its owner's audio like any other."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc, reading_pb2, upload_pb2
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
    title: str
    parents: Sequence[str]
    provenance: engine_pb2.Provenance


class Shelf:
    """Stores files as audio of the owner of the running job.

    A file is uploaded under a name of the service's own, kept apart for each owner, registered
    for its owner with its parents, and let go of: storing it twice leaves one audio.
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
        """Makes a file the owner's audio."""
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
                    details=upload_pb2.AudioDetails(title=filed.title),
                ),
                timeout=_ASK_SECONDS,
            )
            await self._let_go(stored.name, owner)
        except grpc.aio.AioRpcError as error:
            raise_typed(error, filed.file_name)
        audio: audio_pb2.Audio = answer.audio
        return audio

    async def sign(self, audio: str, file_name: str) -> str:
        """A URL under which anybody who holds it can download the file for 24 h."""
        request = reading_pb2.SignUrlRequest(audio=audio, file_name=file_name)
        request.lifetime.seconds = URL_SECONDS
        try:
            answer = await self._ingest.SignUrl(request, timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise_typed(error, audio)
        return str(answer.url)

    async def _let_go(self, audio: str, owner: Caller) -> None:
        request = audio_pb2.DeleteAudioRequest(name=audio)
        try:
            with caller.acting(_staging(owner)):
                await self._ingest.DeleteAudio(request, timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            # Another job of this owner made the same file, and let go of it first.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise


def _staging(owner: Caller) -> Caller:
    """Who uploads for an owner: made sound counts towards no limit on uploads."""
    digest = hashlib.sha256(owner.principal.encode()).hexdigest()
    return Caller(f"generation/{digest[:32]}", SERVICE_TIER, is_service=True)


async def _pieces(filed: Filed) -> AsyncIterator[upload_pb2.PutAudioRequest]:
    with Path(filed.path).open("rb") as file:  # noqa: ASYNC230 - from the page cache, 1 MiB
        while data := file.read(_CHUNK_BYTES):
            body = httpbody_pb2.HttpBody(data=data)
            yield upload_pb2.PutAudioRequest(file_name=filed.file_name, body=body)
