"""Searching: from codes to recordings, from cheap to dear.

Codes are looked up in the index as they are; when that finds nothing sure, with single bits
turned; and whatever the index suggests is compared bit by bit, in the process pool.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chorale_runtime.operations import Job

from chorale_fingerprint import matching
from chorale_fingerprint.codes import Codes
from chorale_fingerprint.matching import Found, Probes
from chorale_fingerprint.store.recordings import Candidate, Enrolled, Shelves, Store

# So unlikely by chance that turning bits could not find anything better.
SURE = 1e-6


@dataclass(frozen=True)
class Hit:
    """A recording that was found, and how it compares."""

    enrolled: Enrolled
    found: Found


class Searcher:
    """Finds recordings by their codes, for one owner at a time."""

    def __init__(self, store: Store, probes_max: int) -> None:
        self._store, self._probes_max = store, probes_max

    async def search(
        self, job: Job[Any], codes: Codes, shelves: Shelves, owner: str | None = None
    ) -> list[Hit]:
        """Searches the shelves, only for the owner's own if named; least likely by chance first."""
        exact = matching.probes(codes, self._probes_max)
        hits = await self._compared(job, codes, exact, shelves, owner)
        if hits and hits[0].found.false_positive_rate < SURE:
            return hits
        turned = matching.with_single_errors(exact)
        return await self._compared(job, codes, turned, shelves, owner)

    async def _compared(
        self, job: Job[Any], codes: Codes, probes: Probes, shelves: Shelves, owner: str | None
    ) -> list[Hit]:
        candidates = await self._store.candidates(shelves, probes)
        ids = [candidate.recording for candidate in candidates]
        enrolled = await self._store.read(shelves, ids, owner)
        references = _references(candidates, enrolled)
        ranked = await job.run(matching.rank, codes, references, shelves.code_count)
        return [Hit(enrolled[found.recording], found) for found in ranked]


def _references(
    candidates: Sequence[Candidate], enrolled: dict[int, Enrolled]
) -> list[matching.Reference]:
    return [
        matching.Reference(
            candidate.recording, enrolled[candidate.recording].codes, candidate.shifts
        )
        for candidate in candidates
        if candidate.recording in enrolled  # or it was deleted in between
    ]
