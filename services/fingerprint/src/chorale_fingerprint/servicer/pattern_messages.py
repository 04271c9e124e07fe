"""Between proto messages and patterns."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

from chorale.audio.v1 import audio_pb2
from chorale.fingerprint.v1 import catalogue_pb2, patterns_pb2, recordings_pb2, similar_pb2

from chorale_fingerprint.layouts import (
    LAYOUTS,
    Agreement,
    Layout,
    LayoutUnknown,
    layout_of,
)
from chorale_fingerprint.store.patterns import Changes, Pattern, PatternNotFound, Song
from chorale_fingerprint.store.similar import Similar, Wanted

PUBLIC, PRIVATE = recordings_pb2.PRIVACY_PUBLIC, recordings_pb2.PRIVACY_PRIVATE
# What `UpdatePattern` may change.
MUTABLE = ("section", "genre", "privacy", "song")


# Writes a pattern as the caller may see it, with its vector or without.
Told: TypeAlias = Callable[[Pattern, bool], patterns_pb2.Pattern]


def identity(name: str) -> uuid.UUID | None:
    """The UUID in a resource name; None when there is none."""
    try:
        return uuid.UUID(name.rpartition("/")[2]) if name else None
    except ValueError:
        return None


def pattern_identity(name: str) -> uuid.UUID:
    """The UUID in the name of a pattern, which must have one."""
    found = identity(name)
    if found is None:
        raise PatternNotFound(name)
    return found


def to_pattern(message: patterns_pb2.Pattern, owner: str) -> Pattern:
    """A pattern to be indexed; raises when its numbers are not what its layout asks for."""
    layout = layout_of(message.vector.layout, message.instrument)
    layout.unit(message.vector.values)
    if not message.instrument:
        raise LayoutUnknown(message.vector.layout, "those of the instrument, which must be said")
    return Pattern(
        owner=owner,
        instrument=message.instrument,
        layout=layout.name,
        values=tuple(message.vector.values),
        song=identity(message.song),
        recording=identity(message.recording),
        section=message.section,
        bpm=message.bpm,
        key=message.key,
        genre=message.genre,
        quality_score=message.quality_score,
        is_public=message.privacy == PUBLIC,
        audio=message.audio,
        start_frame=message.span.start_frame,
        frame_count=message.span.frame_count,
        midi=message.midi,
        preview_audio=message.preview_audio,
        time_signature=message.time_signature,
    )


def pattern(value: Pattern, reader: str, with_vector: bool = True) -> patterns_pb2.Pattern:
    """A pattern as `reader` may see it: of others', not from which audio it is."""
    message = patterns_pb2.Pattern(
        name=f"patterns/{value.name}",
        instrument=value.instrument,  # type: ignore[arg-type]  # an open enum travels as a number
        song=f"songs/{value.song}",
        section=value.section,  # type: ignore[arg-type]
        bpm=value.bpm,
        key=value.key,
        genre=value.genre,
        quality_score=value.quality_score,
        privacy=PUBLIC if value.is_public else PRIVATE,
        midi=value.midi,
        midi_available=value.midi_available,
        preview_audio=value.preview_audio,
        time_signature=value.time_signature,
    )
    if with_vector:
        message.vector.MergeFrom(audio_pb2.PatternVector(layout=value.layout, values=value.values))
    if value.create_time is not None:
        message.create_time.FromDatetime(value.create_time)
    if value.owner == reader:
        message.audio = value.audio
        if value.recording is not None:
            message.recording = f"recordings/{value.recording}"
        if value.frame_count:
            message.span.start_frame = value.start_frame
            message.span.frame_count = value.frame_count
    return message


def song(value: Song) -> catalogue_pb2.Song:
    """A song, with what the reader may see of it."""
    message = catalogue_pb2.Song(
        name=f"songs/{value.name}",
        title=value.title,
        artist=value.artist,
        recording_count=value.recording_count,
        pattern_count=value.pattern_count,
        sections=value.sections,  # type: ignore[arg-type]
    )
    if value.create_time is not None:
        message.create_time.FromDatetime(value.create_time)
    return message


def changes(request: patterns_pb2.UpdatePatternRequest) -> Changes:
    """What to change; an empty mask means all that can be."""
    given, paths = request.pattern, set(request.update_mask.paths or MUTABLE)
    return Changes(
        section=given.section if "section" in paths else None,
        genre=given.genre if "genre" in paths else None,
        is_public=given.privacy == PUBLIC if "privacy" in paths and given.privacy else None,
        song=identity(given.song) if "song" in paths else None,
    )


def wanted(request: similar_pb2.SearchSimilarRequest, query: Pattern | None) -> Wanted:
    """What the found must be."""
    given = request.filter
    return Wanted(
        bpm_min=given.bpm_min,
        bpm_max=given.bpm_max,
        genres=tuple(given.genres),
        keys=tuple(given.keys),
        sections=tuple(given.sections),
        own_only=given.own_only,
        min_quality=given.min_quality,
        created_after=given.created_after,
        is_public=given.privacy == PUBLIC if given.privacy else None,
        other_than=query.name if query else None,
        other_than_song=query.song if query and given.other_songs_only else None,
    )


def similar_songs(
    found: Sequence[Similar], query: Sequence[float] | None, told: Told
) -> list[similar_pb2.SimilarSong]:
    """What was found, by song: that with the likest pattern first. Explained against `query`."""
    order: dict[uuid.UUID | None, int] = {}
    for each in found:
        order.setdefault(each.pattern.song, len(order))
    ranked = sorted(found, key=lambda each: order[each.pattern.song])  # stable: likest first
    return [
        similar_pb2.SimilarSong(
            song=f"songs/{name}",
            title=(first := (group := list(each))[0].pattern).title,
            artist=first.artist,
            patterns=[_similar(one, query, told) for one in group],
        )
        for name, each in groupby(ranked, key=lambda one: one.pattern.song)
    ]


def _similar(
    value: Similar, query: Sequence[float] | None, told: Told
) -> similar_pb2.SimilarPattern:
    found = value.pattern
    return similar_pb2.SimilarPattern(
        pattern=told(found, False),
        similarity=value.similarity,
        explanation=(
            []
            if query is None
            else agreements(LAYOUTS[found.layout].explanation(query, found.values))
        ),
    )


def agreements(rows: Iterable[Agreement]) -> list[similar_pb2.DimensionAgreement]:
    """How much each dimension adds."""
    return [
        similar_pb2.DimensionAgreement(
            dimension=row.dimension.name,
            query_value=row.query_value,
            found_value=row.found_value,
            contribution=row.contribution,
        )
        for row in rows
    ]


def layout(value: Layout, own_counts: dict[str, int], is_current: bool) -> similar_pb2.Layout:
    """A layout, and how many of the caller's patterns are in it."""
    count = own_counts.get(str(value.instrument), 0)
    return similar_pb2.Layout(
        name=value.name,
        instrument=value.instrument,  # type: ignore[arg-type]
        dimensions=[
            similar_pb2.Dimension(name=each.name, description=each.description, weight=each.weight)
            for each in value.dimensions
        ],
        is_current=is_current,
        indexed_share=own_counts.get(value.name, 0) / count if count else 0.0,
    )
