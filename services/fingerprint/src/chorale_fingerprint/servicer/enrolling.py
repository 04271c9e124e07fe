"""Enrolling: what is new becomes a recording, what is known is told.

Many callers may enrol one recording at once. Each searches, and then writes only if nobody
wrote to the owner's shelf since; whoever was overtaken searches again.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from chorale_audio.source import Source
from chorale_runtime.operations import Job

from chorale_fingerprint import matching
from chorale_fingerprint.codes import Codes
from chorale_fingerprint.matching import Alignment, Found
from chorale_fingerprint.servicer.searching import Hit, Searcher
from chorale_fingerprint.store.recordings import Enrolled, Recording, ShelfChanged, Store, Stretch

FILE, ACOUSTIC = "file", "acoustic"
_RECORDINGS = uuid.UUID("7f2d5d0e-6c0f-4a55-9a39-0c1f0b6a4f11")


class DuplicateRejected(Exception):
    """The recording is known, and the policy rejects what is."""

    def __init__(self, recording: str, level: str) -> None:
        super().__init__(recording, level)
        self.recording, self.level = recording, level
        self.song, self.existing_sections = "", ""

    def __str__(self) -> str:
        how = "the same file" if self.level == FILE else "the same to the ear"
        return f"It is {how} as {self.recording}, and the policy rejects duplicates."


@dataclass(frozen=True)
class Enrolment:
    """How an enrolment ended: a new recording, or the known one it is a duplicate of."""

    enrolled: Enrolled
    duplicate: Hit | None = None
    level: str = ""


class Enroller:
    """Enrols sound for one owner at a time."""

    def __init__(self, store: Store, searcher: Searcher) -> None:
        self._store, self._searcher = store, searcher

    async def known(self, owner: str, source: Source, identity: uuid.UUID) -> Enrolment | None:
        """Finds the recording that exactly these frames were enrolled as, without listening.

        One of this `identity` is no duplicate: an attempt of the same operation, whose worker was
        lost before it could say so, enrolled it.
        """
        enrolled = await self._store.known(owner, _stretch(source))
        if enrolled is None:
            return None
        if enrolled.recording.name == identity:
            return Enrolment(enrolled)
        count = len(enrolled.codes)
        whole = Found(0, Alignment(0, 0, count, bit_error_rate=0.0, score=1.0), 0.0)
        return Enrolment(enrolled, Hit(enrolled, whole), FILE)

    async def enroll(
        self, job: Job[Any], source: Source, wanted: Recording, codes: Codes, refuse: bool
    ) -> Enrolment:
        """Enrols the codes of `source`, or notes that it is a copy of what is known.

        Raises `DuplicateRejected` with the name of the known one if duplicates are refused.
        """
        while True:
            try:
                return await self._try(job, source, wanted, codes, refuse)
            except ShelfChanged:
                # Each who was overtaken was so by one who succeeded: this ends.
                if (known := await self.known(wanted.owner, source, wanted.name)) is not None:
                    return known

    async def _try(
        self, job: Job[Any], source: Source, wanted: Recording, codes: Codes, refuse: bool
    ) -> Enrolment:
        owner = wanted.owner
        shelves = await self._store.shelves(owner)
        for hit in await self._searcher.search(job, codes, shelves, owner):
            if not matching.covers(hit.found.alignment, codes, hit.enrolled.codes):
                continue
            name = hit.enrolled.recording.name
            if refuse:
                raise DuplicateRejected(f"recordings/{name}", ACOUSTIC)
            if await self._store.add_copy(name, owner, _stretch(source), shelves):
                return Enrolment(hit.enrolled, hit, ACOUSTIC)
            raise ShelfChanged
        added = await self._store.add(Enrolled(wanted, codes), _stretch(source), shelves)
        return Enrolment(added)


def new_recording(identity: uuid.UUID, source: Source, owner: str, **said: Any) -> Recording:
    """A recording to be, of what its owner said of it."""
    return Recording(
        name=identity,
        owner=owner,
        audio=source.audio,
        frame_count=source.frame_count,
        sample_rate_hz=source.sample_rate_hz,
        **said,
    )


def identity_of(operation: str) -> uuid.UUID:
    """The name of the recording that an operation enrols: the same in every attempt."""
    return uuid.uuid5(_RECORDINGS, operation)


def _stretch(source: Source) -> Stretch:
    return Stretch(source.audio, source.start_frame, source.frame_count)
