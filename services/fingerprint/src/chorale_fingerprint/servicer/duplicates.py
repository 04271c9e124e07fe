"""Duplicates: what is known to be like a piece of audio, and how that is known.

Three levels: it sounds the same; it is the same file, or another part of it; its tempo, key and
duration are the same. What shares sound with a recording without being its copy is a section of
the same song.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from chorale.fingerprint.v1 import catalogue_pb2, recordings_pb2
from chorale_audio.source import Source

from chorale_fingerprint import likeness, messages
from chorale_fingerprint.likeness import Likeness
from chorale_fingerprint.servicer.searching import SURE, Hit, Run, Searcher
from chorale_fingerprint.store.recordings import Enrolled, Shelves, Store
from chorale_fingerprint.store.songs import SongsOfRecordings
from chorale_fingerprint.worker import Heard

ACOUSTIC = recordings_pb2.DUPLICATE_LEVEL_ACOUSTIC
FILE = recordings_pb2.DUPLICATE_LEVEL_FILE
MUSICAL = recordings_pb2.DUPLICATE_LEVEL_MUSICAL
NONE = recordings_pb2.DUPLICATE_LEVEL_UNSPECIFIED
_TOLD: dict[int, str] = {
    ACOUSTIC: "It sounds the same as",
    FILE: "It is from the same file as",
    MUSICAL: "Its tempo, key and duration are those of",
    NONE: "It shares sound with",
}


@dataclass(frozen=True)
class Known:
    """What is like a piece of audio, likest first; how it is known; and the song it is of."""

    hits: Sequence[Hit] = ()
    level: int = NONE
    song: uuid.UUID | None = None


class Duplicates:
    """Finds what is like a piece of audio, for one owner at a time."""

    def __init__(self, store: Store, songs: SongsOfRecordings, searcher: Searcher) -> None:
        self._store, self._songs, self._searcher = store, songs, searcher

    async def known(
        self,
        run: Run,
        owner: str,
        source: Source,
        heard: Heard,
        hints: recordings_pb2.DuplicateHints,
        threshold: float,
    ) -> Known:
        """What is like it: by ear, then by file, then by hint."""
        shelves = await self._store.shelves(owner)
        found = await self._searcher.search(run, heard, shelves)
        sure = [hit for hit in found if hit.likeness.false_positive_rate < SURE]
        alike = [hit for hit in sure if hit.likeness.acoustic >= threshold]
        files = await self._songs.same_audio(owner, source.audio)
        if alike:
            return await self._of_song(owner, alike, ACOUSTIC)
        if files:
            hits = [await self._named(owner, name, 1.0) for name in files]
            return await self._of_song(owner, [hit for hit in hits if hit is not None], FILE)
        if sure:
            return await self._of_song(owner, sure, NONE)
        names = await self._songs.hinted(owner, hints.bpm, hints.key, source.duration_seconds)
        hits = [await self._named(owner, name, 0.0) for name in names]
        hinted = [hit for hit in hits if hit is not None]
        return Known(hinted, MUSICAL if hinted else NONE)

    async def report(
        self,
        owner: str,
        known: Known,
        source: Source,
        hints: recordings_pb2.DuplicateHints,
        suggestion_limit: int,
    ) -> recordings_pb2.DuplicateReport:
        """What is told of it."""
        timeline = messages.timeline(source)
        report = recordings_pb2.DuplicateReport(
            is_duplicate=known.level != NONE,
            level=known.level,  # type: ignore[arg-type]  # an open enum travels as a number
        )
        for hit in known.hits:
            match = messages.match(hit.enrolled.recording, hit.likeness, timeline, owner)
            match.level = known.level  # type: ignore[assignment]
            report.matches.append(match)
        if known.song is not None:
            report.song = f"songs/{known.song}"
            sections = await self._songs.sections(owner, known.song)
            report.existing_sections.extend(sections)  # type: ignore[arg-type]
        if known.hits:
            first = report.matches[0].recording
            report.message = f"{_TOLD[known.level]} {first.name}."
            without = [hit.enrolled.recording.name for hit in known.hits]
            others = await self._songs.others(owner, hints.bpm, without, suggestion_limit)
            for other in others:
                name = messages.recording_name(other.name)
                report.suggestions.add(title=other.title, artist=other.artist, recording=name)
        return report

    async def groups(
        self, run: Run, owner: str, shelves: Shelves, names: Sequence[uuid.UUID], threshold: float
    ) -> tuple[list[catalogue_pb2.DuplicateGroup], int]:
        """Groups an owner's recordings that are one to the ear, each with the copies noted of it.

        Returns the groups, largest first, and how many recordings were compared.
        """
        taken: set[uuid.UUID] = set()
        groups: list[catalogue_pb2.DuplicateGroup] = []
        compared = 0
        for name in names:
            enrolled = await self._store.find(owner, name)
            if enrolled is None:
                continue  # it was deleted since it was listed
            compared += 1
            if name in taken:
                continue
            taken.add(name)
            group = await self._group(run, owner, shelves, enrolled, threshold, taken)
            if group.duplicates:
                groups.append(group)
        groups.sort(key=lambda each: -len(each.duplicates))
        return groups, compared

    async def _group(
        self,
        run: Run,
        owner: str,
        shelves: Shelves,
        enrolled: Enrolled,
        threshold: float,
        taken: set[uuid.UUID],
    ) -> catalogue_pb2.DuplicateGroup:
        recording = enrolled.recording
        group = catalogue_pb2.DuplicateGroup(
            recording=messages.recording(recording, owner), level=ACOUSTIC
        )
        seconds = recording.frame_count / recording.sample_rate_hz
        whole = Likeness(0.0, seconds, 0.0, seconds, 1.0, 0.0, acoustic=1.0)
        timeline = messages.Timeline(0, recording.frame_count, recording.sample_rate_hz)
        for audio in recording.aliases:
            match = messages.match(recording, whole, timeline, owner)
            match.recording.audio = audio
            group.duplicates.append(match)
        for hit in await self._likes(run, owner, shelves, enrolled):
            theirs = hit.enrolled.recording
            is_new = theirs.name not in taken
            if is_new and hit.likeness.acoustic >= threshold and _is_whole(hit, seconds):
                taken.add(theirs.name)
                group.duplicates.append(messages.match(theirs, hit.likeness, timeline, owner))
        return group

    async def _likes(self, run: Run, owner: str, shelves: Shelves, enrolled: Enrolled) -> list[Hit]:
        peaks = (await self._store.peaks(shelves, [enrolled.id])).get(enrolled.id)
        if peaks is not None and len(peaks):
            found = await self._searcher.by_landmarks(run, peaks, shelves, owner)
        else:
            found = await self._searcher.by_codes(run, enrolled.codes, shelves, owner)
        return [hit for hit in found if hit.likeness.false_positive_rate < SURE]

    async def _of_song(self, owner: str, hits: Sequence[Hit], level: int) -> Known:
        own = [hit for hit in hits if hit.enrolled.recording.owner == owner]
        song = await self._songs.song(owner, own[0].enrolled.recording.name) if own else None
        return Known(hits, level, song)

    async def _named(self, owner: str, name: uuid.UUID, acoustic: float) -> Hit | None:
        enrolled = await self._store.find(owner, name)
        if enrolled is None:
            return None
        seconds = enrolled.recording.frame_count / enrolled.recording.sample_rate_hz
        unplaced = Likeness(0.0, seconds, 0.0, seconds, acoustic, 1.0 - acoustic)
        return Hit(enrolled, unplaced)


def _is_whole(hit: Hit, seconds: float) -> bool:
    theirs = hit.enrolled.recording
    longer = max(seconds, theirs.frame_count / theirs.sample_rate_hz)
    return hit.likeness.query_seconds >= likeness.COPY_COVERAGE * longer
