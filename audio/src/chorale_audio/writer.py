"""Writing sound that a service made: canonical PCM to object storage, its name to ingest."""

import hashlib
import uuid
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from chorale.audio.v1 import audio_pb2 as format_pb2
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc, upload_pb2
from chorale_runtime.objects import Objects

from chorale_audio.answers import raise_typed
from chorale_audio.pcm import Samples, encoded

_REGISTER_SECONDS = 60.0


class NothingMade(Exception):
    """There was not one frame to write."""

    def __str__(self) -> str:
        return "There is no audio of 0 frames; at least one is needed."


class MadeNotFinite(Exception):
    """The sound that was made holds NaN or infinity."""

    def __init__(self, frame: int) -> None:
        super().__init__(frame)
        self.frame = frame

    def __str__(self) -> str:
        return f"Frame {self.frame} of the sound that was made is not a finite number."


@dataclass(frozen=True)
class Made:
    """What ingest is told of made sound, beside the sound itself."""

    owner: str
    provenance: engine_pb2.Provenance
    parents: Sequence[str] = ()
    file_name: str = ""
    title: str = ""
    tags: Sequence[str] = field(default=())


def made_key(sha256: str) -> str:
    """Where the canonical PCM of made sound lies in the mesh's bucket."""
    return f"pcm/{sha256}"


class AudioWriter:
    """Writes made sound so that it becomes named audio like any other.

    The same sound has the same digest and so the same name: writing it twice, after a lost worker
    say, leaves one audio. Memory holds one block and one part of an upload.
    """

    def __init__(self, ingest: ingest_service_pb2_grpc.IngestServiceStub, objects: Objects) -> None:
        self._ingest, self._objects = ingest, objects

    async def write(
        self, blocks: AsyncIterable[Samples], sample_rate_hz: int, made: Made
    ) -> audio_pb2.Audio:
        """Stores float32 blocks `(frames, channels)` as they come and registers the whole.

        Nothing stays behind when it fails.
        """
        staged = f"staging/made/{uuid.uuid4()}"
        digest = hashlib.sha256()
        frame_count = channel_count = 0
        try:
            async with self._objects.writer(staged) as writer:
                async for block in blocks:
                    if not np.isfinite(block).all():
                        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
                        raise MadeNotFinite(frame_count + int(wrong[0]))
                    data = encoded(block)
                    digest.update(data)
                    await writer.write(data)
                    frame_count, channel_count = frame_count + len(block), block.shape[1]
                if not frame_count:
                    raise NothingMade
            key = made_key(digest.hexdigest())
            if not await self._objects.exists(key):
                await self._objects.copy(key, staged)
        finally:
            await self._objects.delete(staged)
        format_ = format_pb2.PcmFormat(sample_rate_hz=sample_rate_hz, channel_count=channel_count)
        return await self._register(digest.hexdigest(), format_, frame_count, made)

    async def _register(
        self, sha256: str, format_: format_pb2.PcmFormat, frame_count: int, made: Made
    ) -> audio_pb2.Audio:
        request = upload_pb2.RegisterAudioRequest(
            sha256=sha256,
            format=format_,
            frame_count=frame_count,
            owner=made.owner,
            parents=made.parents,
            provenance=made.provenance,
            file_name=made.file_name,
            details=upload_pb2.AudioDetails(title=made.title, tags=made.tags),
        )
        try:
            answer = await self._ingest.RegisterAudio(request, timeout=_REGISTER_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise_typed(error, f"audio/{sha256}")
        audio: audio_pb2.Audio = answer.audio
        return audio
