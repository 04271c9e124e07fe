"""Enrolling: what is new becomes a recording, what is known is told.

Many callers may enrol one recording at once. Each searches, and then writes only if nobody
wrote to the owner's shelf since; whoever was overtaken searches again.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from chorale_audio.source import Source
from chorale_runtime.operations import Job

from chorale_fingerprint import likeness, messages
from chorale_fingerprint.likeness import Likeness
from chorale_fingerprint.servicer.searching import SURE, Hit, Searcher
from chorale_fingerprint.store.recordings import Enrolled, Recording, ShelfChanged, Store, Stretch
from chorale_fingerprint.store.songs import SongsOfRecordings
from chorale_fingerprint.worker import Heard

FILE, ACOUSTIC, SECTION = "file", "acoustic", "section"
_RECORDINGS = uuid.UUID("7f2d5d0e-6c0f-4a55-9a39-0c1f0b6a4f11")


class DuplicateRejected(Exception):
    """The recording is known, and the policy rejects what is."""

    def __init__(self, recording: str, level: str) -> None:
        super().__init__(recording, level)
        self.recording, self.level = recording, level
        self.song, self.existing_sections = "", ""

    def __str__(self) -> str:
        if self.level == SECTION:
            return (
                f"It is of {self.song}, of which {self.existing_sections or 'enough'} is enrolled,"
                " and the policy rejects more."
            )
        how = "the same file" if self.level == FILE else "the same to the ear"
        return f"It is {how} as {self.recording}, and the policy rejects duplicates."


@dataclass(frozen=True)
class Enrolment:
    """How an enrolment ended: a new recording, or the known one it is a duplicate of."""

    enrolled: Enrolled
    duplicate: Hit | None = None
    level: str = ""
    song: uuid.UUID | None = None
    """The song that a new recording was found to be of."""
    related: tuple[Hit, ...] = ()
    """Recordings of that song by which that is known."""


@dataclass(frozen=True)
class Refusal:
    """What is refused: copies, and more than so many sections of one song."""

    section_limit: int


class Enroller:
    """Enrols sound for one owner at a time."""

    def __init__(self, store: Store, searcher: Searcher, songs: SongsOfRecordings) -> None:
        self._store, self._searcher, self._songs = store, searcher, songs

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
        seconds = source.duration_seconds
        whole = Likeness(0.0, seconds, 0.0, seconds, 1.0, 0.0, acoustic=1.0)
        return Enrolment(enrolled, Hit(enrolled, whole), FILE)

    async def enroll(
        self, job: Job[Any], source: Source, wanted: Recording, heard: Heard, refuse: Refusal | None
    ) -> Enrolment:
        """Enrols what was heard of `source`, or notes that it is a copy of what is known.

        Raises `DuplicateRejected` with the name of the known one if duplicates are refused.
        """
        while True:
            try:
                return await self._try(job, source, wanted, heard, refuse)
            except ShelfChanged:
                # Each who was overtaken was so by one who succeeded: this ends.
                if (known := await self.known(wanted.owner, source, wanted.name)) is not None:
                    return known

    async def _try(
        self, job: Job[Any], source: Source, wanted: Recording, heard: Heard, refuse: Refusal | None
    ) -> Enrolment:
        owner = wanted.owner
        shelves = await self._store.shelves(owner)
        hits = await self._searcher.search(job.run, heard, shelves, owner)
        for hit in hits:
            theirs = hit.enrolled.recording
            their_seconds = theirs.frame_count / theirs.sample_rate_hz
            if not likeness.is_copy(hit.likeness, source.duration_seconds, their_seconds):
                continue
            name = hit.enrolled.recording.name
            if refuse is not None:
                raise DuplicateRejected(f"recordings/{name}", ACOUSTIC)
            if await self._store.add_copy(name, owner, _stretch(source), shelves):
                return Enrolment(hit.enrolled, hit, ACOUSTIC)
            raise ShelfChanged
        enrolled = Enrolled(wanted, heard.codes, peaks=heard.peaks)
        related = tuple(hit for hit in hits if hit.likeness.false_positive_rate < SURE)
        others = [hit.enrolled.recording.name for hit in related]
        others += await self._songs.same_audio(owner, source.audio)
        if refuse is not None and others:
            await self._refuse_sections(owner, others[0], wanted.section, refuse.section_limit)
        added = await self._store.add(enrolled, _stretch(source), shelves)
        song = await self._songs.joined(owner, wanted.name, others[0]) if others else None
        return Enrolment(added, song=song, related=related)

    async def _refuse_sections(
        self, owner: str, other: uuid.UUID, section: int, limit: int
    ) -> None:
        """Raises `DuplicateRejected` when the song of `other` has this section, or enough."""
        song = await self._songs.song(owner, other)
        if song is None:
            return  # it was deleted since it was found
        sections = await self._songs.sections(owner, song)
        if section in sections or len(sections) >= limit:
            rejected = DuplicateRejected(f"recordings/{other}", SECTION)
            rejected.song = f"songs/{song}"
            rejected.existing_sections = ",".join(map(messages.section_name, sections))
            raise rejected


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
