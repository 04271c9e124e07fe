"""The operations that look for duplicates, once a worker has taken them up."""

import time

from chorale.fingerprint.v1 import catalogue_pb2
from chorale_audio.failures import AudioNotFound
from chorale_runtime import caller
from chorale_runtime.operations import Job

from chorale_fingerprint import engines
from chorale_fingerprint.likeness import COPY_COVERAGE
from chorale_fingerprint.servicer.duplicates import Duplicates
from chorale_fingerprint.servicer.hearing import Hearing
from chorale_fingerprint.servicer.rules import DuplicateRules
from chorale_fingerprint.store.recordings import Store
from chorale_fingerprint.store.songs import SongsOfRecordings

_SUGGESTIONS = 3

Check = catalogue_pb2.CheckDuplicatesRequest
Report = catalogue_pb2.ReportDuplicatesRequest


class DuplicateWorks:
    """Checks one piece of audio, or an owner's whole library."""

    def __init__(
        self,
        hearing: Hearing,
        store: Store,
        songs: SongsOfRecordings,
        duplicates: Duplicates,
        rules: DuplicateRules,
    ) -> None:
        self._hearing, self._store, self._songs = hearing, store, songs
        self._duplicates, self._rules = duplicates, rules

    async def check(self, job: Job[Check]) -> catalogue_pb2.CheckDuplicatesResponse:
        """Says whether the audio, or its song, is known; enrols nothing."""
        started, asked, tier = time.monotonic(), job.request, caller.current().tier
        source = await self._hearing.locate(asked)
        heard = await self._hearing.listen(job, source)
        threshold = _threshold(asked)
        known = await self._duplicates.known(
            job.run, job.owner, source, heard, asked.hints, threshold
        )
        limit = asked.suggestion_limit or _SUGGESTIONS
        report = await self._duplicates.report(job.owner, known, source, asked.hints, limit)
        report.decision = self._rules.policy_of(tier)  # type: ignore[assignment]
        report.section_limit = self._rules.sections_of(tier)
        settings = {"acoustic_threshold": f"{threshold:g}", "suggestion_limit": str(limit)}
        return catalogue_pb2.CheckDuplicatesResponse(
            audio=source.audio,
            duplicates=report,
            provenance=self._hearing.made_by(engines.IDENTIFY, asked.engine, settings, started),
        )

    async def report(self, job: Job[Report]) -> catalogue_pb2.ReportDuplicatesResponse:
        """Groups the caller's recordings that are one."""
        started, asked = time.monotonic(), job.request
        threshold = _threshold(asked)
        names = await self._songs.owned(job.owner, list(asked.audio))
        shelves = await self._store.shelves(job.owner)
        groups, compared = await self._duplicates.groups(
            job.run, job.owner, shelves, names, threshold
        )
        settings = {"acoustic_threshold": f"{threshold:g}"}
        return catalogue_pb2.ReportDuplicatesResponse(
            groups=groups,
            recording_count=compared,
            duplicate_count=sum(len(group.duplicates) for group in groups),
            duplicate_bytes=await self._bytes(groups),
            provenance=self._hearing.made_by(engines.IDENTIFY, asked.engine, settings, started),
        )

    async def _bytes(self, groups: list[catalogue_pb2.DuplicateGroup]) -> int:
        """How many bytes the duplicates take; audio that has expired takes none."""
        total = 0
        for name in {match.recording.audio for group in groups for match in group.duplicates}:
            try:
                total += (await self._hearing.audio(name)).size_bytes
            except AudioNotFound:
                continue
        return total


def _threshold(asked: Check | Report) -> float:
    return asked.acoustic_threshold if asked.HasField("acoustic_threshold") else COPY_COVERAGE
