"""Between proto messages and the values that music and the store know."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.fingerprint.v1 import catalogue_pb2, recordings_pb2
from chorale_audio.source import Source, Span

from chorale_fingerprint.codes import compressed
from chorale_fingerprint.engines import AUTO, Engine
from chorale_fingerprint.likeness import COPY_COVERAGE, Likeness
from chorale_fingerprint.store.recording_changes import RecordingChanges
from chorale_fingerprint.store.recordings import Enrolled, Recording

_RECORDINGS = "recordings/"
# What `UpdateRecording` may change.
MUTABLE = ("title", "artist", "section", "privacy", "labels", "song")


# Measured on one core: storage, resampling and codes of a second of sound; and what starting costs.
_SECONDS_PER_SECOND, _SECONDS_AT_LEAST = 0.005, 0.05
# And searching one recording among the others.
_SECONDS_PER_RECORDING = 0.1


class RecordingNotFound(Exception):
    """No such recording, or not the caller's."""

    def __init__(self, recording: str) -> None:
        super().__init__(recording)
        self.recording = recording

    def __str__(self) -> str:
        return f"There is no recording {self.recording!r}, or it is not yours."


@dataclass(frozen=True)
class Timeline:
    """The frames that codes were made of: where they begin, how many, at which rate."""

    start_frame: int
    frame_count: int
    sample_rate_hz: int


def span(message: audio_pb2.FrameSpan) -> Span:
    """The span of a request; an unset one is the whole."""
    return Span(message.start_frame, message.frame_count)


def recording_id(name: str) -> uuid.UUID | None:
    """The identity in `recordings/{uuid}`; None when it is no UUID, so that nothing has it."""
    try:
        return uuid.UUID(name.removeprefix(_RECORDINGS))
    except ValueError:
        return None


def recording_name(identity: uuid.UUID) -> str:
    """The resource name of a recording."""
    return f"{_RECORDINGS}{identity}"


def engine(value: Engine) -> engine_pb2.Engine:
    """An engine as `ListEngines` tells it."""
    return engine_pb2.Engine(
        name=value.name,
        capability=value.capability,
        version=value.version,
        code_licence=value.code_licence,
        commercial_use=True,
        available=value.available,
        remedy=value.remedy,
        devices=value.devices,
        is_default=value.is_default,
        description=value.description,
    )


def provenance(
    requested: str, used: Engine, settings: Mapping[str, str], seconds: float
) -> engine_pb2.Provenance:
    """What made an answer."""
    message = engine_pb2.Provenance(
        engine_requested=requested or AUTO,
        engine_used=used.name,
        engine_version=used.version,
        settings=settings,
        device="cpu",
    )
    message.processing_time.FromMilliseconds(round(seconds * 1000))
    return message


def asked_of(provider: str, seconds: float) -> engine_pb2.Provenance:
    """What made an answer that another gave."""
    message = engine_pb2.Provenance(engine_requested=AUTO, engine_used=provider, device="remote")
    message.processing_time.FromMilliseconds(round(seconds * 1000))
    return message


def estimate(used: Engine, source: Source) -> audio_pb2.Estimate:
    """What work on this sound would take."""
    seconds = _SECONDS_AT_LEAST + source.duration_seconds * _SECONDS_PER_SECOND
    return audio_pb2.Estimate(engine=used.name, device="cpu", seconds=seconds)


def estimate_report(used: Engine, recording_count: int) -> audio_pb2.Estimate:
    """What comparing so many recordings would take."""
    seconds = _SECONDS_AT_LEAST + recording_count * _SECONDS_PER_RECORDING
    return audio_pb2.Estimate(engine=used.name, device="cpu", seconds=seconds)


def enrolled(value: Enrolled, reader: str) -> recordings_pb2.Recording:
    """A recording with its fingerprint."""
    message = recording(value.recording, reader)
    message.chromaprint = compressed(value.codes)
    return message


def recording(value: Recording, reader: str) -> recordings_pb2.Recording:
    """A recording as `reader` may see it: of others', not from which audio and how labelled."""
    message = recordings_pb2.Recording(
        name=recording_name(value.name),
        title=value.title,
        artist=value.artist,
        section=value.section,  # type: ignore[arg-type]  # an open enum travels as a number
        privacy=(
            recordings_pb2.PRIVACY_PUBLIC if value.is_public else recordings_pb2.PRIVACY_PRIVATE
        ),
        frame_count=value.frame_count,
        sample_rate_hz=value.sample_rate_hz,
        bpm=value.bpm,
        key=value.key,
    )
    if value.create_time is not None:
        message.create_time.FromDatetime(value.create_time)
    if value.owner == reader:
        message.audio = value.audio
        message.song = f"songs/{value.song}" if value.song is not None else ""
        message.aliases.extend(value.aliases)
        message.labels.update(value.labels)
    return message


def changes(request: catalogue_pb2.UpdateRecordingRequest) -> RecordingChanges:
    """What to change of a recording; an empty mask means all that can be."""
    given, paths = request.recording, set(request.update_mask.paths or MUTABLE)
    song = recording_id(given.song.removeprefix("songs/")) if given.song else None
    return RecordingChanges(
        title=given.title if "title" in paths else None,
        artist=given.artist if "artist" in paths else None,
        section=given.section if "section" in paths else None,
        is_public=(
            given.privacy == recordings_pb2.PRIVACY_PUBLIC
            if "privacy" in paths and given.privacy
            else None
        ),
        labels=dict(given.labels) if "labels" in paths else None,
        song=song if "song" in paths else None,
        is_alone="song" in paths and not given.song,
    )


def match(
    value: Recording, likeness: Likeness, query: Timeline, reader: str
) -> recordings_pb2.Match:
    """A match, its spans in the frames of what was asked and of the recording."""
    theirs = Timeline(0, value.frame_count, value.sample_rate_hz)
    is_copy = likeness.acoustic >= COPY_COVERAGE
    return recordings_pb2.Match(
        recording=recording(value, reader),
        score=likeness.score,
        false_positive_rate=likeness.false_positive_rate,
        query_span=_span(query, likeness.query_start_seconds, likeness.query_seconds),
        recording_span=_span(theirs, likeness.recording_start_seconds, likeness.recording_seconds),
        speed_ratio=likeness.speed_ratio,
        pitch_semitones=likeness.pitch_semitones,
        level=(
            recordings_pb2.DUPLICATE_LEVEL_ACOUSTIC
            if is_copy
            else recordings_pb2.DUPLICATE_LEVEL_UNSPECIFIED
        ),
    )


def duplicates(
    match: recordings_pb2.Match, level: str, policy: int
) -> recordings_pb2.DuplicateReport:
    """What is known to be the same as what was to be enrolled."""
    told = {"file": "the same file", "acoustic": "the same to the ear"}[level]
    report = recordings_pb2.DuplicateReport(
        is_duplicate=True,
        level=f"DUPLICATE_LEVEL_{level.upper()}",
        decision=policy,  # type: ignore[arg-type]  # an open enum travels as a number
        matches=[match],
        message=f"It is {told} as {match.recording.name}; nothing new was enrolled.",
    )
    report.matches[0].level = report.level
    return report


def section_name(value: int) -> str:
    """A section as people say it."""
    return audio_pb2.SectionLabel.Name(value).removeprefix("SECTION_LABEL_").lower()


def timeline(source: Source) -> Timeline:
    """The frames of a source."""
    return Timeline(source.start_frame, source.frame_count, source.sample_rate_hz)


def _span(timeline: Timeline, start_seconds: float, seconds: float) -> audio_pb2.FrameSpan:
    """The frames of a stretch of a timeline, within its bounds."""
    start = min(round(start_seconds * timeline.sample_rate_hz), timeline.frame_count)
    count = min(round(seconds * timeline.sample_rate_hz), timeline.frame_count - start)
    return audio_pb2.FrameSpan(start_frame=timeline.start_frame + start, frame_count=count)
