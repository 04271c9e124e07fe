"""Chords over the wire, beside a real ingest."""

import asyncio
from typing import Any

import pytest
import signals
from analysis_calls import asking, reason, refused, unpacked
from chorale.analysis.v1 import beats_pb2, chords_pb2, harmony_pb2
from operation_calls import ended
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")

madmom_here = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('madmom')",
    reason="NOT MEASURED: madmom is not installed",
)


async def test_chords_are_recognized(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """A cadence comes back as chords at their frames, numbered, counted, with what made it."""
    audio = ingest.put(signals.cadence("Eb", "major", repeats=2, chord_seconds=1.0))
    settings = chords_pb2.ChordSettings(editing=chords_pb2.ChordEditing(display=True))
    request = asking(chords_pb2.RecognizeChordsRequest, audio.name, settings=settings)
    done, _ = await ended(channel, await analysis.RecognizeChords(request))
    answer = unpacked(done, chords_pb2.RecognizeChordsResponse)
    found = [chord for chord in answer.chords.chords if chord.frame_count > 15_000]
    assert [chord.label for chord in found] == [
        *("Eb:maj", "Ab:maj", "Bb:maj", "Eb:maj"),
        *("Ab:maj", "Bb:maj", "Eb:maj"),
    ]
    assert [chord.roman_numeral for chord in found[:3]] == ["I", "IV", "V"]
    assert found[0].display == "E♭"
    assert len(found[0].alternatives) == 3
    ends = [chord.start_frame + chord.frame_count for chord in answer.chords.chords]
    assert ends[:-1] == [chord.start_frame for chord in answer.chords.chords[1:]]
    assert ends[-1] == audio.frame_count
    assert answer.chords.statistics.distinct_count >= 3
    assert answer.provenance.engine_used == "chorale"
    assert answer.provenance.settings["vocabulary"] == "large_voca"
    assert answer.provenance.settings["editing.display"] == "1"


async def test_chords_are_edited_as_asked(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Transposition to a key spells as that key does."""
    audio = ingest.put(signals.cadence("C", "major", repeats=2, chord_seconds=1.0))
    editing = chords_pb2.ChordEditing(target_key="Eb major", shortest_seconds=0.4)
    settings = chords_pb2.ChordSettings(vocabulary="majmin", editing=editing)
    request = asking(chords_pb2.RecognizeChordsRequest, audio.name, settings=settings)
    done, _ = await ended(channel, await analysis.RecognizeChords(request))
    answer = unpacked(done, chords_pb2.RecognizeChordsResponse)
    assert [c.label for c in answer.chords.chords[:3]] == ["Eb:maj", "Ab:maj", "Bb:maj"]


async def test_a_vocabulary_nobody_knows_is_refused(analysis: Any, ingest: Ingest) -> None:
    """`submission` is of an engine with weights: SETTING_UNSUPPORTED, with what is known."""
    audio = ingest.put(signals.cadence("C", "major"))
    for settings in ({"vocabulary": "submission"}, {"separate": True}):
        request = asking(
            chords_pb2.RecognizeChordsRequest,
            audio.name,
            settings=chords_pb2.ChordSettings(**settings),
        )
        code, info = await refused(analysis.RecognizeChords(request))
        assert (code, info.reason) == ("INVALID_ARGUMENT", "SETTING_UNSUPPORTED")
        assert info.metadata["known"]


async def test_silence_has_no_chords(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Silence is AUDIO_SILENT, and a tenth of a second AUDIO_TOO_SHORT."""
    audio = ingest.put(signals.silence(3))
    request = asking(chords_pb2.RecognizeChordsRequest, audio.name)
    done, _ = await ended(channel, await analysis.RecognizeChords(request))
    assert reason(done.error).reason == "AUDIO_SILENT"
    short = ingest.put(signals.cadence("C", "major", 1, 0.02))
    request = asking(chords_pb2.RecognizeChordsRequest, short.name)
    code, info = await refused(analysis.RecognizeChords(request))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "AUDIO_TOO_SHORT")


async def test_chords_of_the_caller_are_edited(analysis: Any) -> None:
    """LAB text comes back moved, fingered and counted; the same text gives the same answer."""
    request = chords_pb2.EditChordsRequest(
        lab="0 2 Eb:maj7\n2 4 G#:maj\n4 6 Bb:7\n6 8 Eb:maj\n",
        editing=chords_pb2.ChordEditing(simplify=True, capo_fret=3),
    )
    one, two = await asyncio.gather(analysis.EditChords(request), analysis.EditChords(request))
    assert one == two
    assert [chord.label for chord in one.chords.chords] == ["C:maj", "F:maj", "G:maj", "C:maj"]
    assert (one.key, one.chords.statistics.chord_count) == ("C major", 4)
    assert [(c.index, c.original, c.corrected) for c in one.corrections] == [
        (1, "G#:maj", "Ab:maj")
    ]
    assert one.lab.splitlines()[1] == "2.000000 4.000000 F:maj"


async def test_text_that_is_no_chord_is_refused(analysis: Any) -> None:
    """A bad line is named: CHORDS_UNPARSABLE; and chords with LAB text are one too many."""
    code, info = await refused(analysis.EditChords(chords_pb2.EditChordsRequest(lab="0 1 what")))
    assert (code, info.reason, info.metadata["line"]) == (
        "INVALID_ARGUMENT",
        "CHORDS_UNPARSABLE",
        "1",
    )
    for bad in ({"label": "C:maj", "bass": "szNH"}, {"label": "C:maj", "start_seconds": 9}):
        chords = [chords_pb2.Chord(label="G:maj", end_seconds=9.5)]
        chords.append(chords_pb2.Chord(end_seconds=12, **bad))
        code, info = await refused(analysis.EditChords(chords_pb2.EditChordsRequest(chords=chords)))
        assert (info.reason, info.metadata["line"]) == ("CHORDS_UNPARSABLE", "2")


@madmom_here
async def test_madmom_listens_too(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """The engine madmom finds beats, bars, key and chords, and says under which licence."""
    audio = ingest.put(signals.song(120, "G", "major", 10.0))
    for call, kind, response in (
        (analysis.TrackBeats, beats_pb2.TrackBeatsRequest, beats_pb2.TrackBeatsResponse),
        (analysis.DetectKey, harmony_pb2.DetectKeyRequest, harmony_pb2.DetectKeyResponse),
        (
            analysis.RecognizeChords,
            chords_pb2.RecognizeChordsRequest,
            chords_pb2.RecognizeChordsResponse,
        ),
    ):
        done, _ = await ended(channel, await call(asking(kind, audio.name, engine="madmom")))
        answer: Any = unpacked(done, response)
        assert answer.provenance.engine_used == "madmom"
        assert answer.provenance.weights[0].licence == "CC-BY-NC-SA-4.0"
        if response is beats_pb2.TrackBeatsResponse:
            assert answer.beats.bpm == pytest.approx(120, rel=0.02)
            assert answer.beats.downbeat_count == len([b for b in answer.beats.bars if b.number])
            assert answer.beats.time_signature in ("3/4", "4/4")
        elif response is harmony_pb2.DetectKeyResponse:
            assert answer.key.key in ("G major", "D major")
        else:
            assert {"G:maj", "C:maj"} <= {chord.label for chord in answer.chords.chords}
