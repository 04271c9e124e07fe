"""What the operations of this service do, once a worker has taken them up."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

import grpc
from chorale.engines.v1 import engine_pb2
from chorale.fingerprint.v1 import listening_pb2, recordings_pb2
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc
from chorale_audio.answers import raise_typed
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime.operations import Job

from chorale_fingerprint import codes, engines, matching, messages, worker
from chorale_fingerprint.codes import Codes
from chorale_fingerprint.engines import Engine
from chorale_fingerprint.servicer.enrolling import (
    DuplicateRejected,
    Enroller,
    identity_of,
    new_recording,
)
from chorale_fingerprint.servicer.searching import Hit, Searcher
from chorale_fingerprint.store.recordings import Recording, Store

MATCHES_DEFAULT = 5
# One piece of unknown music in 200 may match.
FALSE_POSITIVES_MAX = 1 / 200
_TITLE_CHARACTERS_MAX = 200
_ASK_SECONDS = 10.0
POLICIES = {
    "allow": recordings_pb2.DUPLICATE_POLICY_ALLOW,
    "warn": recordings_pb2.DUPLICATE_POLICY_WARN,
    "reject": recordings_pb2.DUPLICATE_POLICY_REJECT,
}

Enroll = recordings_pb2.EnrollRequest
Identify = recordings_pb2.IdentifyRequest
ComputeChromaprint = listening_pb2.ComputeChromaprintRequest


class FingerprintWorks:
    """Enrols, identifies, and writes fingerprints for others."""

    def __init__(
        self,
        reader: AudioReader,
        ingest: ingest_service_pb2_grpc.IngestServiceStub,
        store: Store,
        searcher: Searcher,
        known_engines: tuple[Engine, ...],
        duplicate_policy: str,
    ) -> None:
        self._reader, self._ingest = reader, ingest
        self._store, self._searcher = store, searcher
        self._enroller = Enroller(store, searcher)
        self._engines = known_engines
        self._policy = POLICIES[duplicate_policy]

    async def enroll(self, job: Job[Enroll]) -> recordings_pb2.EnrollResponse:
        """Enrols the audio, or tells as what it is known."""
        started, asked = time.monotonic(), job.request
        policy = asked.policy or self._policy
        refuse = policy == recordings_pb2.DUPLICATE_POLICY_REJECT
        source = await self._locate(asked)
        identity = identity_of(job.name)
        enrolment = await self._enroller.known(job.owner, source, identity)
        if enrolment is not None and refuse and enrolment.level:
            name = messages.recording_name(enrolment.enrolled.recording.name)
            raise DuplicateRejected(name, enrolment.level)
        if enrolment is None:
            heard = await self._listen(job, source)
            await job.progress("comparing", 0.9)
            wanted = await self._described(identity, asked, source, job.owner)
            enrolment = await self._enroller.enroll(job, source, wanted, heard, refuse)
        answer = recordings_pb2.EnrollResponse(
            recording=messages.enrolled(enrolment.enrolled, job.owner),
            created=not enrolment.level,
            provenance=self._made_by(engines.IDENTIFY, asked.engine, {}, started),
        )
        if enrolment.duplicate is not None:
            match = self._match(enrolment.duplicate, source, job.owner)
            answer.duplicates.CopyFrom(messages.duplicates(match, enrolment.level, policy))
        return answer

    async def identify(self, job: Job[Identify]) -> recordings_pb2.IdentifyResponse:
        """Says which recordings the audio holds, and where."""
        started, asked = time.monotonic(), job.request
        source = await self._locate(asked)
        heard = await self._listen(job, source)
        await job.progress("comparing", 0.9)
        shelves = await self._store.shelves(job.owner)
        only = job.owner if asked.own_only else None
        hits = await self._searcher.search(job, heard, shelves, only)
        kept = [hit for hit in hits if _is_wanted(hit, asked)]
        limit = asked.limit or MATCHES_DEFAULT
        least = f"{asked.min_score:g}" if asked.HasField("min_score") else ""
        settings = {
            "limit": str(limit),
            "own_only": str(asked.own_only).lower(),
            "min_score": least,
            "false_positive_rate_max": "" if least else f"{FALSE_POSITIVES_MAX:g}",
        }
        return recordings_pb2.IdentifyResponse(
            audio=source.audio,
            matches=[self._match(hit, source, job.owner) for hit in kept[:limit]],
            provenance=self._made_by(engines.IDENTIFY, asked.engine, settings, started),
        )

    async def compute_chromaprint(
        self, job: Job[ComputeChromaprint]
    ) -> listening_pb2.ComputeChromaprintResponse:
        """Writes the fingerprint that AcoustID takes."""
        started, asked = time.monotonic(), job.request
        source = await self._locate(asked)
        heard = await job.run(worker.write_codes, source)
        return listening_pb2.ComputeChromaprintResponse(
            chromaprint=codes.compressed(heard),
            raw=heard.tolist(),
            duration_seconds=source.duration_seconds,
            provenance=self._made_by(engines.CHROMAPRINT, asked.engine, {}, started),
        )

    async def _locate(self, asked: Enroll | Identify | ComputeChromaprint) -> Source:
        span = messages.span(asked.span) if asked.HasField("span") else None
        return await self._reader.locate(asked.audio, span)

    async def _listen(self, job: Job[Any], source: Source) -> Codes:
        heard = await job.run(worker.write_codes, source)
        matching.require_distinctive(heard)
        return heard

    async def _described(
        self, identity: uuid.UUID, asked: Enroll, source: Source, owner: str
    ) -> Recording:
        """What the request says of the recording, and the audio itself where it says nothing."""
        title, artist = asked.title, asked.artist
        if not title or not artist:
            audio = await self._audio(source.audio)
            title = title or audio.title or audio.embedded_tags.get("title") or audio.file_name
            artist = artist or audio.embedded_tags.get("artist", "")
        return new_recording(
            identity,
            source,
            owner,
            title=title[:_TITLE_CHARACTERS_MAX],
            artist=artist[:_TITLE_CHARACTERS_MAX],
            section=asked.section,
            is_public=asked.privacy == recordings_pb2.PRIVACY_PUBLIC,
            labels=dict(asked.labels),
            bpm=asked.hints.bpm,
            key=asked.hints.key,
        )

    async def _audio(self, name: str) -> audio_pb2.Audio:
        request = audio_pb2.GetAudioRequest(name=name)
        try:
            answer: audio_pb2.GetAudioResponse = await self._ingest.GetAudio(
                request, timeout=_ASK_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise_typed(error, name)
        return answer.audio

    def _match(self, hit: Hit, source: Source, reader: str) -> recordings_pb2.Match:
        timeline = messages.timeline(source)
        return messages.match(hit.enrolled.recording, hit.found, timeline, reader)

    def _made_by(
        self, capability: str, requested: str, settings: Mapping[str, str], started: float
    ) -> engine_pb2.Provenance:
        used = engines.choose(self._engines, capability, requested)
        return messages.provenance(requested, used, settings, time.monotonic() - started)


def _is_wanted(hit: Hit, asked: Identify) -> bool:
    if asked.HasField("min_score"):
        return hit.found.alignment.score >= asked.min_score
    return hit.found.false_positive_rate <= FALSE_POSITIVES_MAX
