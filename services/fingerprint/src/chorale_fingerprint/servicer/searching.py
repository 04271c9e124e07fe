"""Searching: from what was heard to recordings, from cheap to dear.

Landmarks are looked up, few first and more while those find nothing sure; what they point at is
compared peak by peak. Whole recordings are compared by Chromaprint's codes too: they hold where
there are few peaks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from chorale_fingerprint import likeness, matching, placing
from chorale_fingerprint.codes import Codes
from chorale_fingerprint.landmarks import looks
from chorale_fingerprint.likeness import Likeness
from chorale_fingerprint.matching import Probes
from chorale_fingerprint.peaks import Peaks
from chorale_fingerprint.placing import Place
from chorale_fingerprint.store.recordings import Candidate, Enrolled, Shelves, Store
from chorale_fingerprint.worker import Heard

# So unlikely by chance that looking further could not find anything better.
SURE = 1e-6
# Peaks of a query looked up in the index: of longer sound three stretches of 20 s say enough.
_PROBED_SECONDS = 20.0
# Runs a function elsewhere than on the event loop: `Job.run`, or a thread.
Run: TypeAlias = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Hit:
    """A recording that was found, and how it compares."""

    enrolled: Enrolled
    likeness: Likeness


class Searcher:
    """Finds recordings by what they sound like, for one owner at a time."""

    def __init__(self, store: Store, probes_max: int) -> None:
        self._store, self._probes_max = store, probes_max

    async def search(
        self, run: Run, heard: Heard, shelves: Shelves, owner: str | None = None
    ) -> list[Hit]:
        """Searches the shelves, only for the owner's own if named; least likely by chance first."""
        hits = await self.by_landmarks(run, heard.peaks, shelves, owner)
        if not (hits and hits[0].likeness.false_positive_rate < SURE):
            hits = _best(hits + await self.by_codes(run, heard.codes, shelves, owner))
        return hits

    async def by_landmarks(
        self, run: Run, peaks: Peaks, shelves: Shelves, owner: str | None = None
    ) -> list[Hit]:
        """Searches by landmarks only."""
        hits: list[Hit] = []
        lookup = self._store.landmarks.lookup(shelves.ids)
        asked = looks(_probed(peaks), _PROBED_SECONDS)
        while (probes := await asyncio.to_thread(next, asked, None)) is not None:
            found = await lookup.find(probes)
            candidates = await asyncio.to_thread(placing.candidates, found)
            ids = sorted({each.recording for each in candidates})
            enrolled = await self._store.read(shelves, ids, owner)
            references = await self._store.peaks(shelves, list(enrolled))
            known = [each for each in candidates if each.recording in references]
            placed = await run(placing.places, peaks, references, known) if known else {}
            hits = _best(_placed(placed, enrolled, peaks.seconds, shelves))
            if hits and hits[0].likeness.false_positive_rate < SURE:
                break
        return hits

    async def by_codes(
        self, run: Run, codes: Codes, shelves: Shelves, owner: str | None = None
    ) -> list[Hit]:
        """Searches by Chromaprint's codes only: as they are, then with single bits turned."""
        exact = matching.probes(codes, self._probes_max)
        hits = await self._compared(run, codes, exact, shelves, owner)
        if hits and hits[0].likeness.false_positive_rate < SURE:
            return hits
        turned = matching.with_single_errors(exact)
        return await self._compared(run, codes, turned, shelves, owner)

    async def _compared(
        self, run: Run, codes: Codes, probes: Probes, shelves: Shelves, owner: str | None
    ) -> list[Hit]:
        candidates = await self._store.candidates(shelves, probes)
        ids = [candidate.recording for candidate in candidates]
        enrolled = await self._store.read(shelves, ids, owner)
        references = _references(candidates, enrolled)
        ranked = await run(matching.rank, codes, references, shelves.code_count)
        return [
            Hit(enrolled[found.recording], likeness.of_codes(found, len(codes))) for found in ranked
        ]


def _probed(peaks: Peaks) -> Peaks:
    """What is looked up: all of short sound, and begin, middle and end of long sound."""
    return peaks.sampled(_PROBED_SECONDS, 3)


def _placed(
    placed: dict[int, Place], enrolled: dict[int, Enrolled], seconds: float, shelves: Shelves
) -> list[Hit]:
    return [
        Hit(enrolled[recording], likeness.of_place(place, seconds, shelves.code_count))
        for recording, place in placed.items()
    ]


def _best(hits: Sequence[Hit]) -> list[Hit]:
    """The surest hit of each recording, surest first; of equally sure ones the likest."""
    ordered = sorted(hits, key=lambda hit: (hit.likeness.false_positive_rate, -hit.likeness.score))
    best: dict[int, Hit] = {}
    for hit in ordered:
        best.setdefault(hit.enrolled.id, hit)
    return list(best.values())


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
