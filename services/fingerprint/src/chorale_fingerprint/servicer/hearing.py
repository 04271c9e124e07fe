"""What every operation of this service begins and ends with: finding sound, hearing it, signing."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import grpc
from chorale.audio.v1 import audio_pb2 as sound_pb2
from chorale.engines.v1 import engine_pb2
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc
from chorale_audio.answers import raise_typed
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.operations import Job

from chorale_fingerprint import engines, matching, messages, worker
from chorale_fingerprint.engines import Engine
from chorale_fingerprint.worker import Heard

_ASK_SECONDS = 10.0


class Asked(Protocol):
    """A request for work on a stretch of named audio."""

    @property
    def audio(self) -> str: ...

    @property
    def span(self) -> sound_pb2.FrameSpan: ...

    def HasField(self, field_name: Any) -> bool: ...


class Hearing:
    """Finds named audio, listens to it, and says what made an answer."""

    def __init__(
        self,
        reader: AudioReader,
        ingest: ingest_service_pb2_grpc.IngestServiceStub,
        known_engines: tuple[Engine, ...],
    ) -> None:
        self._reader, self._ingest, self._engines = reader, ingest, known_engines

    async def locate(self, asked: Asked) -> Source:
        """The frames that a request is about."""
        span = messages.span(asked.span) if asked.HasField("span") else None
        return await self._reader.locate(asked.audio, span)

    async def listen(self, job: Job[Any], source: Source) -> Heard:
        """What they sound like; raises `NotDistinctive` when that is like much else."""
        heard = await job.run(worker.listen, source)
        matching.require_distinctive(heard.codes)
        return heard

    async def audio(self, name: str) -> audio_pb2.Audio:
        """What ingest says of named audio."""
        request = audio_pb2.GetAudioRequest(name=name)
        try:
            answer: audio_pb2.GetAudioResponse = await self._ingest.GetAudio(
                request, timeout=_ASK_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise_typed(error, name)
        return answer.audio

    def made_by(
        self, capability: str, requested: str, settings: Mapping[str, str], started: float
    ) -> engine_pb2.Provenance:
        """What made an answer that was begun at `started`."""
        used = engines.choose(self._engines, capability, requested)
        return messages.provenance(requested, used, settings, time.monotonic() - started)
