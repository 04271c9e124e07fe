"""What the operations of this service do, once a worker has taken them up."""

import time
import uuid

from chorale.fingerprint.v1 import listening_pb2, recordings_pb2
from chorale_audio.source import Source
from chorale_runtime import caller
from chorale_runtime.operations import Job

from chorale_fingerprint import codes, engines, messages, worker
from chorale_fingerprint.servicer.duplicates import Duplicates, Known
from chorale_fingerprint.servicer.enrolling import (
    DuplicateRejected,
    Enroller,
    Enrolment,
    Refusal,
    identity_of,
    new_recording,
)
from chorale_fingerprint.servicer.hearing import Hearing
from chorale_fingerprint.servicer.rules import DuplicateRules
from chorale_fingerprint.servicer.searching import Hit, Searcher
from chorale_fingerprint.store.recordings import Recording, Shelves, Store
from chorale_fingerprint.worker import Heard

MATCHES_DEFAULT = 5
# One piece of unknown music in 200 may match.
FALSE_POSITIVES_MAX = 1 / 200
_TITLE_CHARACTERS_MAX = 200
_SUGGESTIONS = 3

Enroll = recordings_pb2.EnrollRequest
Identify = recordings_pb2.IdentifyRequest
ComputeChromaprint = listening_pb2.ComputeChromaprintRequest


class FingerprintWorks:
    """Enrols, identifies, and writes fingerprints for others."""

    def __init__(
        self,
        hearing: Hearing,
        store: Store,
        searcher: Searcher,
        enroller: Enroller,
        duplicates: Duplicates,
        rules: DuplicateRules,
    ) -> None:
        self._hearing, self._store, self._searcher = hearing, store, searcher
        self._enroller, self._duplicates, self._rules = enroller, duplicates, rules

    async def enroll(self, job: Job[Enroll]) -> recordings_pb2.EnrollResponse:
        """Enrols the audio, or tells as what it is known."""
        started, asked, tier = time.monotonic(), job.request, caller.current().tier
        policy = self._rules.policy_of(tier, asked.policy)
        refuse = None
        if policy == recordings_pb2.DUPLICATE_POLICY_REJECT:
            refuse = Refusal(self._rules.sections_of(tier))
        source = await self._hearing.locate(asked)
        identity = identity_of(job.name)
        enrolment = await self._enroller.known(job.owner, source, identity)
        if enrolment is not None and refuse is not None and enrolment.level:
            name = messages.recording_name(enrolment.enrolled.recording.name)
            raise DuplicateRejected(name, enrolment.level)
        if enrolment is None:
            heard = await self._hearing.listen(job, source)
            await job.progress("comparing", 0.9)
            wanted = await self._described(identity, asked, source, job.owner)
            enrolment = await self._enroller.enroll(job, source, wanted, heard, refuse)
        answer = recordings_pb2.EnrollResponse(
            recording=messages.enrolled(enrolment.enrolled, job.owner),
            created=not enrolment.level,
            provenance=self._hearing.made_by(engines.IDENTIFY, asked.engine, {}, started),
        )
        if enrolment.duplicate is not None:
            match = _match(enrolment.duplicate, source, job.owner)
            answer.duplicates.CopyFrom(messages.duplicates(match, enrolment.level, policy))
        elif enrolment.song is not None:
            answer.recording.song = f"songs/{enrolment.song}"
            report = await self._of_song(job.owner, enrolment, source, asked.hints)
            report.decision = policy  # type: ignore[assignment]  # an open enum travels as a number
            report.section_limit = self._rules.sections_of(tier)
            answer.duplicates.CopyFrom(report)
        return answer

    async def identify(self, job: Job[Identify]) -> recordings_pb2.IdentifyResponse:
        """Says which recordings the audio holds, and where."""
        started, asked = time.monotonic(), job.request
        source = await self._hearing.locate(asked)
        heard = await self._hearing.listen(job, source)
        await job.progress("comparing", 0.9)
        shelves = await self._store.shelves(job.owner)
        only = job.owner if asked.own_only else None
        hits = await self._searched(job, asked.engine, heard, shelves, only)
        least = asked.min_score if asked.HasField("min_score") else None
        kept = [hit for hit in hits if is_wanted(hit, least)]
        limit = asked.limit or MATCHES_DEFAULT
        settings = {
            "limit": str(limit),
            "own_only": str(asked.own_only).lower(),
            "min_score": "" if least is None else f"{least:g}",
            "false_positive_rate_max": f"{FALSE_POSITIVES_MAX:g}" if least is None else "",
        }
        return recordings_pb2.IdentifyResponse(
            audio=source.audio,
            matches=[_match(hit, source, job.owner) for hit in kept[:limit]],
            provenance=self._hearing.made_by(engines.IDENTIFY, asked.engine, settings, started),
        )

    async def compute_chromaprint(
        self, job: Job[ComputeChromaprint]
    ) -> listening_pb2.ComputeChromaprintResponse:
        """Writes the fingerprint that AcoustID takes."""
        started, asked = time.monotonic(), job.request
        source = await self._hearing.locate(asked)
        heard = await job.run(worker.write_codes, source)
        return listening_pb2.ComputeChromaprintResponse(
            chromaprint=codes.compressed(heard),
            raw=heard.tolist(),
            duration_seconds=source.duration_seconds,
            provenance=self._hearing.made_by(engines.CHROMAPRINT, asked.engine, {}, started),
        )

    async def _searched(
        self, job: Job[Identify], engine: str, heard: Heard, shelves: Shelves, only: str | None
    ) -> list[Hit]:
        if engine == engines.CODES:
            return await self._searcher.by_codes(job.run, heard.codes, shelves, only)
        return await self._searcher.search(job.run, heard, shelves, only)

    async def _of_song(
        self,
        owner: str,
        enrolment: Enrolment,
        source: Source,
        hints: recordings_pb2.DuplicateHints,
    ) -> recordings_pb2.DuplicateReport:
        known = Known(enrolment.related, song=enrolment.song)
        report = await self._duplicates.report(owner, known, source, hints, _SUGGESTIONS)
        report.message = report.message or "It is of a song that is known."
        return report

    async def _described(
        self, identity: uuid.UUID, asked: Enroll, source: Source, owner: str
    ) -> Recording:
        """What the request says of the recording, and the audio itself where it says nothing."""
        title, artist = asked.title, asked.artist
        if not title or not artist:
            audio = await self._hearing.audio(source.audio)
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


def is_wanted(hit: Hit, min_score: float | None) -> bool:
    """Whether a hit is good enough to be told."""
    if min_score is not None:
        return hit.likeness.score >= min_score
    return hit.likeness.false_positive_rate <= FALSE_POSITIVES_MAX


def _match(hit: Hit, source: Source, reader: str) -> recordings_pb2.Match:
    timeline = messages.timeline(source)
    return messages.match(hit.enrolled.recording, hit.likeness, timeline, reader)
