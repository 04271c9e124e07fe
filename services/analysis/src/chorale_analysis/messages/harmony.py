"""Keys and chords between messages and values."""

from chorale.analysis.v1 import chords_pb2, harmony_pb2
from chorale_audio.source import Source

from chorale_analysis import harte
from chorale_analysis.engines import Engine
from chorale_analysis.harmony import (
    Chord,
    ChordSettings,
    ChordsUnparsable,
    Editing,
    Harmony,
    Statistics,
)
from chorale_analysis.messages.engines import SettingUnsupported, frame, stretch
from chorale_analysis.tonality import KeySettings, Tonality

_MINIMUM_SECONDS_DEFAULT = 8.0


def key_settings(message: harmony_pb2.KeySettings) -> KeySettings:
    """Settings with defaults filled in."""
    return KeySettings(
        modulations=message.modulations,
        minimum_seconds=message.minimum_seconds or _MINIMUM_SECONDS_DEFAULT,
    )


def chord_settings(message: chords_pb2.ChordSettings, by: Engine) -> ChordSettings:
    """Settings with defaults filled in; raises `SettingUnsupported`."""
    if message.separate:
        raise SettingUnsupported("separate", "true", by.name, "false")
    if message.vocabulary not in ("", *by.vocabularies):
        raise SettingUnsupported(
            "vocabulary", message.vocabulary, by.name, ",".join(by.vocabularies)
        )
    usual = ChordSettings()
    given = message.HasField("alternative_count")
    return ChordSettings(
        vocabulary=message.vocabulary or by.vocabularies[0],
        alternative_count=message.alternative_count if given else usual.alternative_count,
        editing=editing(message.editing),
    )


def editing(message: chords_pb2.ChordEditing) -> Editing:
    """What to do with chords, defaults filled in."""
    usual = Editing()
    merges, shortens = message.HasField("merge_seconds"), message.HasField("shortest_seconds")
    return Editing(
        simplify=message.simplify,
        merge_seconds=message.merge_seconds if merges else usual.merge_seconds,
        shortest_seconds=message.shortest_seconds if shortens else usual.shortest_seconds,
        transpose_semitones=message.transpose_semitones,
        target_key=message.target_key,
        capo_fret=message.capo_fret,
        beat_synchronous=message.beat_synchronous,
        display=message.display,
    )


def chord_track(source: Source, value: Harmony, settings: ChordSettings) -> chords_pb2.ChordTrack:
    """The chords of a source, with figures over them."""
    track = chords_pb2.ChordTrack(
        vocabulary=value.vocabulary,
        sample_rate_hz=source.sample_rate_hz,
    )
    if value.statistics is not None:
        track.statistics.CopyFrom(statistics(value.statistics))
    offset = source.start_frame / source.sample_rate_hz
    for chord in value.chords:
        span = stretch(source, chord.start_seconds, chord.end_seconds)
        message = chord_message(chord, settings.editing.display)
        message.start_frame, message.frame_count = span.start_frame, span.frame_count
        message.start_seconds = offset + chord.start_seconds
        message.end_seconds = offset + chord.end_seconds
        track.chords.append(message)
    return track


def chord_message(chord: Chord, with_display: bool) -> chords_pb2.Chord:
    """One chord, at its seconds."""
    message = chords_pb2.Chord(
        start_seconds=chord.start_seconds,
        end_seconds=chord.end_seconds,
        label=chord.label,
        confidence=chord.confidence,
        bass=chord.bass,
        roman_numeral=chord.numeral,
        beat_index=chord.beat_index,
        display=harte.display(harte.parse(chord.label)) if with_display else "",
    )
    for other in chord.alternatives:
        message.alternatives.add(
            label=other.label, probability=other.probability, distance=other.distance
        )
    return message


def chord(message: chords_pb2.Chord, rate_hz: int, line: int) -> Chord:
    """A chord that a caller gives: by its seconds, or by its frames where it has no seconds."""
    start, end = message.start_seconds, message.end_seconds
    if not end:
        start = message.start_frame / rate_hz
        end = start + message.frame_count / rate_hz
    is_note = not message.bass or harte.is_note(message.bass)
    if end < start or not is_note:
        raise ChordsUnparsable(line, f"{start:g} {end:g} {message.label}")
    return Chord(start, end, str(harte.parse(message.label)), message.confidence, bass=message.bass)


def statistics(value: Statistics) -> chords_pb2.ChordStatistics:
    """Figures over many chords."""
    message = chords_pb2.ChordStatistics(
        chord_count=value.chord_count,
        distinct_count=value.distinct_count,
        complexity=value.complexity,
        chords_per_minute=value.chords_per_minute,
        label_seconds=value.label_seconds,
    )
    for one in value.capos:
        message.capos.add(fret=one.fret, key=one.key, open_share=one.open_share)
    return message


def key_track(source: Source, value: Tonality) -> harmony_pb2.KeyTrack:
    """The keys of a source."""
    track = harmony_pb2.KeyTrack(
        key=value.key,
        confidence=value.confidence,
        tuning_cents=value.tuning_cents,
        sample_rate_hz=source.sample_rate_hz,
    )
    for other in value.candidates:
        track.candidates.add(key=other.key, probability=other.probability, relation=other.relation)
    for region in value.regions:
        if track.regions:
            before = track.regions[-1].key
            track.modulations.add(
                frame=frame(source, region.start_seconds), from_key=before, to_key=region.key
            )
        track.regions.add(
            span=stretch(source, region.start_seconds, region.end_seconds),
            key=region.key,
            confidence=region.confidence,
        )
    return track
