"""Everything at once over the wire, and the files made of it."""

import io
import json
import time
import uuid
import zipfile
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import mido  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
import signals
from analysis_calls import asking, reason, refused, unpacked
from chorale.analysis.v1 import beats_pb2, structure_pb2, timeline_pb2
from chorale.operations.v1 import operations_service_pb2  # noqa: F401 - what operations tell
from chorale_analysis.midi import TICKS, midi
from chorale_analysis.musicxml import lead_sheet
from chorale_analysis.sheet import BeatMark, Mark, Sheet
from google.longrunning import operations_pb2, operations_pb2_grpc
from operation_calls import ended
from standing_ingest import Ingest

FORMATS = timeline_pb2.TimelineFormat
SECONDS = 24.0


def analysis_of(audio: str, **fields: Any) -> timeline_pb2.AnalyzeRequest:
    """A request for everything about this audio."""
    request: timeline_pb2.AnalyzeRequest = asking(timeline_pb2.AnalyzeRequest, audio, **fields)
    return request


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def analyzed(channel: Any, analysis: Any, ingest: Ingest) -> operations_pb2.Operation:
    """A finished analysis of a song in G at 120."""
    audio = ingest.put(signals.song(120, "G", "major", SECONDS))
    done, _ = await ended(channel, await analysis.Analyze(analysis_of(audio.name)))
    operation: operations_pb2.Operation = done
    return operation


async def exported(analysis: Any, operation: Any, form: int, **fields: Any) -> tuple[str, bytes]:
    """The content type and bytes of a file."""
    request = timeline_pb2.ExportTimelineRequest(
        operation=operation.name, format=FORMATS.Name(form), **fields
    )
    parts = [part async for part in analysis.ExportTimeline(request)]
    return parts[0].content_type, b"".join(part.data for part in parts)


@pytest.mark.asyncio(loop_scope="session")
async def test_everything_is_found_at_once(analyzed: Any) -> None:
    """Beats, chords, key, form and loudness come on one time line, each with what made it."""
    line = unpacked(analyzed, timeline_pb2.AnalyzeResponse).timeline
    assert line.beats.bpm == pytest.approx(120, rel=0.01)
    assert line.key.key == "G major"
    assert {"G:maj", "C:maj", "D:maj"} <= {chord.label for chord in line.chords.chords}
    assert line.structure.sections
    assert set(line.provenance) == {"beats", "chords", "key", "structure", "dynamics"}
    assert {made.engine_used for made in line.provenance.values()} == {"chorale"}
    whole = line.dynamics.integrated_lufs
    assert all(abs(bar.loudness_lufs - whole) < 6 for bar in line.bars[1:-1])


@pytest.mark.asyncio(loop_scope="session")
async def test_what_one_call_found_the_others_know(
    channel: Any, analysis: Any, analyzed: Any
) -> None:
    """After Analyze each feature's own call, and Analyze again, are answered from what is kept."""
    first = unpacked(analyzed, timeline_pb2.AnalyzeResponse)
    audio = first.timeline.audio
    for call, kind, response in (
        (analysis.TrackBeats, beats_pb2.TrackBeatsRequest, beats_pb2.TrackBeatsResponse),
        (analysis.Segment, structure_pb2.SegmentRequest, structure_pb2.SegmentResponse),
        (analysis.Analyze, timeline_pb2.AnalyzeRequest, timeline_pb2.AnalyzeResponse),
    ):
        begun = await call(asking(kind, audio))
        assert begun.done, "what is kept is answered at once"
        done, _ = await ended(channel, begun)
        answer: Any = unpacked(done, response)
        assert answer.provenance.from_cache
    assert answer.timeline.beats == first.timeline.beats
    request = analysis_of(audio, validate_only=True)
    started = time.monotonic()
    estimate = await analysis.Analyze(request)
    assert time.monotonic() - started < 1.0
    assert unpacked(estimate, timeline_pb2.AnalyzeResponse).estimate.cached


@pytest.mark.asyncio(loop_scope="session")
async def test_features_are_chosen(channel: Any, analysis: Any, analyzed: Any) -> None:
    """Only what is asked for is told; what nobody serves is refused, by its name."""
    audio = unpacked(analyzed, timeline_pb2.AnalyzeResponse).timeline.audio
    request = analysis_of(audio, features=["FEATURE_KEY"])
    done, _ = await ended(channel, await analysis.Analyze(request))
    line = unpacked(done, timeline_pb2.AnalyzeResponse).timeline
    assert line.key.key == "G major"
    assert not line.HasField("beats")
    request = analysis_of(audio, features=["FEATURE_STEMS"])
    code, info = await refused(analysis.Analyze(request))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "ENGINE_UNKNOWN")
    assert info.metadata["capability"] == "stems"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_time_line_is_taken_away(analysis: Any, analyzed: Any) -> None:
    """Every format opens in what reads it and holds what was found."""
    line = unpacked(analyzed, timeline_pb2.AnalyzeResponse).timeline
    count = len(line.chords.chords)
    kind, data = await exported(analysis, analyzed, FORMATS.TIMELINE_FORMAT_LAB)
    files = zipfile.ZipFile(io.BytesIO(data))
    assert kind == "application/zip"
    assert set(files.namelist()) == {"chords.lab", "key.lab", "structure.lab", "beats.lab"}
    assert len(files.read("chords.lab").splitlines()) == count
    kind, data = await exported(
        analysis, analyzed, FORMATS.TIMELINE_FORMAT_CSV, features=["FEATURE_CHORDS"]
    )
    assert (kind, len(data.splitlines())) == ("text/csv", count + 1)
    _, data = await exported(analysis, analyzed, FORMATS.TIMELINE_FORMAT_JAMS)
    spaces = {a["namespace"]: a["data"] for a in json.loads(data)["annotations"]}
    assert len(spaces["chord_harte"]) == count
    assert len(spaces["beat"]) == len(line.beats.beats)
    assert spaces["tempo"][0]["confidence"] == line.beats.bpm_confidence
    _, data = await exported(analysis, analyzed, FORMATS.TIMELINE_FORMAT_JSON)
    assert json.loads(data)["key"]["key"] == "G major"
    _, data = await exported(analysis, analyzed, FORMATS.TIMELINE_FORMAT_MIDI)
    song = mido.MidiFile(file=io.BytesIO(data))
    assert (song.type, song.ticks_per_beat, len(song.tracks)) == (1, 480, 3)
    assert song.length == pytest.approx(SECONDS, abs=0.6)
    _, data = await exported(analysis, analyzed, FORMATS.TIMELINE_FORMAT_MUSICXML, simplified=True)
    assert ElementTree.fromstring(data).findall(".//harmony")


@pytest.mark.asyncio(loop_scope="session")
async def test_files_of_what_is_no_analysis_are_refused(
    channel: Any, analysis: Any, analyzed: Any
) -> None:
    """An unknown operation, one of another call, and lyrics that nobody finds are refused."""
    audio = unpacked(analyzed, timeline_pb2.AnalyzeResponse).timeline.audio
    done, _ = await ended(
        channel, await analysis.TrackBeats(asking(beats_pb2.TrackBeatsRequest, audio))
    )
    nobody = operations_pb2.Operation(name=f"operations/{uuid.uuid4()}")
    for operation, form, expected in (
        (nobody, FORMATS.TIMELINE_FORMAT_LAB, "OPERATION_NOT_FOUND"),
        (done, FORMATS.TIMELINE_FORMAT_LAB, "OPERATION_UNFIT"),
        (analyzed, FORMATS.TIMELINE_FORMAT_LRC, "SETTING_UNSUPPORTED"),
    ):
        _, info = await refused(exported(analysis, operation, form))
        assert info.reason == expected


@pytest.mark.asyncio(loop_scope="session")
async def test_files_wait_for_the_end(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """A file of an analysis that has not ended is refused, which says how far it is."""
    audio = ingest.put(signals.song(96, "E", "minor", 60.0))
    operation = await analysis.Analyze(analysis_of(audio.name))
    _, info = await refused(exported(analysis, operation, FORMATS.TIMELINE_FORMAT_LAB))
    assert info.reason == "OPERATION_NOT_DONE"
    stub = operations_pb2_grpc.OperationsStub(channel)
    await stub.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    done, _ = await ended(channel, operation)
    assert reason(done.error).reason == "OPERATION_CANCELLED"


@pytest.mark.asyncio(loop_scope="session")
async def test_silence_is_one_error(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Silence is AUDIO_SILENT whatever is asked of it."""
    audio = ingest.put(signals.silence(9))
    done, _ = await ended(channel, await analysis.Analyze(analysis_of(audio.name)))
    assert reason(done.error).reason == "AUDIO_SILENT"


def waltz() -> Sheet:
    """Two bars of 3/4 after a beat of pickup, with tempo that bends."""
    seconds = [0.3, 0.8, 1.3, 1.9, 2.4, 2.8, 3.4]
    beats = tuple(BeatMark(s, (n + 2) % 3 + 1, 1.0) for n, s in enumerate(seconds))
    return Sheet(
        audio="audio/" + "0" * 64,
        start_seconds=0.0,
        end_seconds=4.0,
        beats=beats,
        beats_per_bar=3,
        bpm=120.0,
        chords=(Mark(0.3, 1.9, "Eb:maj7/3", 1.0), Mark(1.9, 4.0, "F#:min", 1.0)),
        keys=(Mark(0.0, 4.0, "Eb major", 1.0),),
        sections=(Mark(0.8, 4.0, "verse", 1.0),),
    )


def test_midi_keeps_the_time_of_the_recording() -> None:
    """Chords begin on their beat's tick, and played back at the seconds they were heard."""
    song = mido.MidiFile(file=io.BytesIO(midi(waltz(), {"chords": 24})))
    now, starts, notes = 0.0, [], []
    for event in song:
        now += event.time
        if event.type == "note_on" and event.channel == 0:
            starts.append(round(now, 2))
            notes.append(event.note % 12)
    assert sorted(set(starts)) == pytest.approx([0.3, 1.9], abs=0.01)
    assert set(notes[:4]) == {3, 7, 10, 2}
    ticks = 0
    for event in song.tracks[1]:
        ticks += event.time
        if event.type == "note_on":
            break
    assert ticks % TICKS == 0
    signature = next(e for e in song.tracks[0] if e.type == "key_signature")
    assert signature.key == "Eb"
    meters = [e for e in song.tracks[0] if e.type == "time_signature"]
    assert (meters[-1].numerator, meters[-1].denominator) == (3, 4)


def late_waltz() -> Sheet:
    """The same after some silence, with a key that changes and two chords over one beat."""
    whole = waltz()
    beats = tuple(replace(beat, seconds=beat.seconds + 4.5) for beat in whole.beats)
    chords = (
        Mark(0.0, 4.7, "N", 1.0), Mark(4.7, 5.75, "Eb:maj", 1.0), Mark(5.75, 6.05, "Bb:7", 1.0),
        Mark(6.05, 9.0, "F#:min", 1.0),
    )  # fmt: skip
    keys = (Mark(0.0, 6.9, "Eb major", 1.0), Mark(6.9, 9.0, "F# minor", 1.0))
    sections = (Mark(0.0, 4.7, "intro", 1.0), Mark(4.7, 9.0, "verse", 1.0))
    return replace(whole, end_seconds=9.0, beats=beats, chords=chords, keys=keys, sections=sections)


def test_midi_before_the_first_beat_is_whole_bars() -> None:
    """However long nothing is played, no bar is longer than its meter; the first may be shorter."""
    song = mido.MidiFile(file=io.BytesIO(midi(late_waltz(), {})))
    meters = [e for e in song.tracks[0] if e.type == "time_signature"]
    assert [(e.numerator, e.denominator) for e in meters] == [(2, 4), (3, 4)]
    first = song.tracks[1][2].time  # the first chord, a little before the third of ten beats
    assert 9 * TICKS < first < 10 * TICKS


def test_a_lead_sheet_follows_key_and_chords() -> None:
    """Its key changes where that of the music does; the second chord of a beat lies within it."""
    bars = ElementTree.fromstring(lead_sheet(late_waltz())).findall(".//measure")
    assert [bar.findtext("attributes/key/fifths") for bar in bars] == ["-3", None, "3"]
    assert [bar.findtext(".//rehearsal") for bar in bars] == ["verse", None, None]
    told = [
        (harmony.findtext("root/root-step"), harmony.findtext("offset"))
        for bar in bars
        for harmony in bar.findall("harmony")
    ]
    assert told == [("E", None), ("B", None), ("F", "2")]


def test_a_lead_sheet_has_bars() -> None:
    """A pickup of one beat, then bars of three, with the chords over the beats they begin on."""
    score = ElementTree.fromstring(lead_sheet(waltz()))
    bars = score.findall(".//measure")
    assert [len(bar.findall("note")) for bar in bars] == [1, 3, 3]
    assert bars[0].get("implicit") == "yes"
    assert [bar.findtext("harmony/root/root-step") for bar in bars] == ["E", "F", None]
    assert bars[0].findtext("harmony/bass/bass-step") == "G"
    assert bars[1].findtext(".//rehearsal") == "verse"


def test_files_tell_where_the_meter_changes() -> None:
    """Bars of four that go on as bars of three have both time signatures, each where it begins."""
    places = [3, 4] + [1, 2, 3, 4] * 2 + [1, 2, 3] * 2 + [1]
    beats = tuple(BeatMark(0.5 * n, place, 1.0) for n, place in enumerate(places))
    end_seconds = 0.5 * len(beats)
    sheet = replace(waltz(), beats=beats, beats_per_bar=4, end_seconds=end_seconds)
    bars = ElementTree.fromstring(lead_sheet(sheet)).findall(".//measure")
    times = [bar.findtext("attributes/time/beats") for bar in bars]
    assert times == ["4", None, None, "3", None, None]
    song = mido.MidiFile(file=io.BytesIO(midi(sheet, {})))
    now, meters = 0, []
    for event in song.tracks[0]:
        now += event.time
        if event.type == "time_signature":
            meters.append((now / TICKS, event.numerator))
    assert meters == [(0.0, 2), (2.0, 4), (10.0, 3)]
