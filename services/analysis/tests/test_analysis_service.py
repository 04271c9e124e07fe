"""AnalysisService over the wire, beside a real ingest."""

import uuid
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
import signals
from analysis_calls import asking, reason, refused, unpacked
from chorale.analysis.v1 import (
    beats_pb2,
    chords_pb2,
    engines_pb2,
    harmony_pb2,
    notes_pb2,
    timeline_pb2,
)
from chorale.audio.v1 import audio_pb2
from chorale_analysis import engines
from operation_calls import ended
from standing_ingest import Ingest

# One service for all tests: starting it takes longer than any of them.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_beats_are_tracked(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Clicks at 120 BPM come back as beats at their frames, with what made the answer."""
    audio = ingest.put(signals.clicks(120, 12))
    request = asking(beats_pb2.TrackBeatsRequest, audio.name)
    done, stages = await ended(channel, await analysis.TrackBeats(request))
    answer = unpacked(done, beats_pb2.TrackBeatsResponse)
    assert [s for s in stages if s in ("reading", "listening", "deciding")] == [
        "reading",
        "listening",
        "deciding",
    ]
    assert answer.beats.bpm == pytest.approx(120, rel=0.01)
    found = np.array([beat.frame for beat in answer.beats.beats]) / signals.RATE_HZ
    truth = signals.beat_times(120, 12)
    assert len(found) == len(truth)
    assert np.abs(found - truth).max() < 0.03
    assert answer.provenance.engine_used == "chorale"
    assert answer.provenance.engine_requested == "auto"
    assert answer.provenance.settings["bpm_min"] == "55"


async def test_a_key_is_detected(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """A cadence in F# minor is in F# minor, surely, and its relative is among the others."""
    audio = ingest.put(signals.cadence("F#", "minor"))
    request = asking(harmony_pb2.DetectKeyRequest, audio.name)
    done, _ = await ended(channel, await analysis.DetectKey(request))
    answer = unpacked(done, harmony_pb2.DetectKeyResponse)
    assert answer.key.key == "F# minor"
    assert answer.key.confidence > 0.5
    assert {c.relation: c.key for c in answer.key.candidates}["relative"] == "A major"


async def test_an_answer_is_kept(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Asking again is answered from what is kept; another setting or span is not."""
    audio = ingest.put(signals.clicks(100, 8, seed=7))
    first, again, other = [
        await ended(channel, await analysis.TrackBeats(request))
        for request in (
            asking(beats_pb2.TrackBeatsRequest, audio.name),
            asking(beats_pb2.TrackBeatsRequest, audio.name),
            asking(
                beats_pb2.TrackBeatsRequest,
                audio.name,
                span=audio_pb2.FrameSpan(start_frame=44100),
            ),
        )
    ]
    answers = [unpacked(done, beats_pb2.TrackBeatsResponse) for done, _ in (first, again, other)]
    assert [a.provenance.from_cache for a in answers] == [False, True, False]
    assert answers[0].beats == answers[1].beats
    assert answers[2].beats.span.start_frame == 44100
    assert answers[2].beats.beats[0].frame > 44100


async def test_an_estimate_starts_nothing(analysis: Any, ingest: Ingest) -> None:
    """`validate_only` answers at once with an estimate, and nothing else."""
    audio = ingest.put(signals.clicks(90, 8, seed=11))
    request = asking(beats_pb2.TrackBeatsRequest, audio.name, validate_only=True)
    operation = await analysis.TrackBeats(request)
    assert operation.done
    assert not operation.name
    answer = unpacked(operation, beats_pb2.TrackBeatsResponse)
    assert 0.0 < answer.estimate.seconds < 1.0
    assert not answer.estimate.cached
    assert not answer.HasField("beats")


async def test_silence_is_an_error(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Silence has neither beats nor key: AUDIO_SILENT, as the operation's error."""
    audio = ingest.put(signals.silence(5))
    for call, kind in (
        (analysis.TrackBeats, beats_pb2.TrackBeatsRequest),
        (analysis.DetectKey, harmony_pb2.DetectKeyRequest),
    ):
        done, _ = await ended(channel, await call(asking(kind, audio.name)))
        assert done.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        info = reason(done.error)
        assert (info.reason, info.domain) == ("AUDIO_SILENT", "analysis.chorale")
        assert info.metadata["audio"] == audio.name


async def test_too_little_is_refused(analysis: Any, ingest: Ingest) -> None:
    """Less than the engine's window is refused before any work: AUDIO_TOO_SHORT."""
    audio = ingest.put(signals.clicks(120, 0.9))
    for call, kind in (
        (analysis.TrackBeats, beats_pb2.TrackBeatsRequest),
        (analysis.DetectKey, harmony_pb2.DetectKeyRequest),
    ):
        code, info = await refused(call(asking(kind, audio.name)))
        assert (code, info.reason) == ("FAILED_PRECONDITION", "AUDIO_TOO_SHORT")
        assert info.metadata["frameCount"] == str(audio.frame_count)
    code, info = await refused(analysis.Analyze(asking(timeline_pb2.AnalyzeRequest, audio.name)))
    assert (info.reason, info.metadata["neededBy"]) == ("AUDIO_TOO_SHORT", "beats")


async def test_too_much_is_refused(analysis: Any, ingest: Ingest) -> None:
    """More than the service listens to is refused before any work: AUDIO_TOO_LONG."""
    audio = ingest.put(signals.silence(61, 1, 8000), 8000)
    code, info = await refused(analysis.TrackBeats(asking(beats_pb2.TrackBeatsRequest, audio.name)))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "AUDIO_TOO_LONG")
    assert info.metadata["limitSeconds"] == "60.0"


async def test_an_engine_may_take_less(
    analysis: Any, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than an engine takes is refused, which names others; `force` takes it all the same."""
    monkeypatch.setattr(
        engines,
        "ENGINES",
        tuple(
            replace(one, is_present=True, limit_seconds=3.0) if one.name == "madmom" else one
            for one in engines.ENGINES
        ),
    )
    audio = ingest.put(signals.clicks(120, 4)).name
    asked: dict[str, Any] = {"audio": audio, "engine": "madmom", "validate_only": True}
    code, info = await refused(analysis.TrackBeats(asking(beats_pb2.TrackBeatsRequest, **asked)))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "AUDIO_TOO_LONG")
    assert (info.metadata["engine"], info.metadata["alternatives"]) == ("madmom", "chorale")
    asked["force"] = True
    done = await analysis.TrackBeats(asking(beats_pb2.TrackBeatsRequest, **asked))
    estimate = unpacked(done, beats_pb2.TrackBeatsResponse).estimate
    assert estimate.engine == "madmom"
    asked |= {"engine": "auto", "force": False}
    done = await analysis.TrackBeats(asking(beats_pb2.TrackBeatsRequest, **asked))
    assert unpacked(done, beats_pb2.TrackBeatsResponse).estimate.engine == "chorale"


async def test_unknown_audio_is_refused(analysis: Any) -> None:
    """Audio that is not stored: AUDIO_NOT_FOUND, named."""
    name = "audio/" + "0" * 64
    request = asking(beats_pb2.TrackBeatsRequest, name)
    code, info = await refused(analysis.TrackBeats(request))
    assert (code, info.reason) == ("NOT_FOUND", "AUDIO_NOT_FOUND")
    assert info.metadata["audio"] == name


async def test_a_span_past_the_end_is_refused(analysis: Any, ingest: Ingest) -> None:
    """A span that begins at the end: SPAN_PAST_END."""
    audio = ingest.put(signals.clicks(120, 4))
    span = audio_pb2.FrameSpan(start_frame=audio.frame_count)
    request = asking(beats_pb2.TrackBeatsRequest, audio.name, span=span)
    code, info = await refused(analysis.TrackBeats(request))
    assert (code, info.reason) == ("OUT_OF_RANGE", "SPAN_PAST_END")


@pytest.mark.parametrize(
    ("engine", "commercial_only", "code", "expected"),
    [
        ("btc-sl", False, "INVALID_ARGUMENT", "ENGINE_UNKNOWN"),  # does chords, not beats
        ("beat-transformer", False, "FAILED_PRECONDITION", "WEIGHTS_MISSING"),
        ("madmom", True, "FAILED_PRECONDITION", "ENGINE_NONCOMMERCIAL"),
    ],
)
async def test_engines_that_cannot_work_are_refused(
    analysis: Any, ingest: Ingest, engine: str, commercial_only: bool, code: str, expected: str
) -> None:
    """An engine asked for by name works or is refused with why; none stands in for it."""
    audio = ingest.put(signals.clicks(120, 4))
    request = asking(
        beats_pb2.TrackBeatsRequest, audio.name, engine=engine, commercial_only=commercial_only
    )
    found_code, info = await refused(analysis.TrackBeats(request))
    assert (found_code, info.reason) == (code, expected)
    assert info.metadata["engine"] == engine


async def test_an_engine_that_cannot_work_says_what_helps(analysis: Any, ingest: Ingest) -> None:
    """The refusal and the listing give the same remedy, and promise no command there is not."""
    audio = ingest.put(signals.clicks(120, 4))
    request = asking(beats_pb2.TrackBeatsRequest, audio.name, engine="beat-transformer")
    _, info = await refused(analysis.TrackBeats(request))
    listed = await analysis.ListEngines(engines_pb2.ListEnginesRequest())
    told = {engine.remedy for engine in listed.engines if engine.name == "beat-transformer"}
    assert told == {info.metadata["remedy"]}
    assert info.metadata["remedy"]


async def test_unknown_settings_are_refused(analysis: Any, ingest: Ingest) -> None:
    """A setting that the engine does not know is refused, not ignored: SETTING_UNSUPPORTED."""
    audio = ingest.put(signals.clicks(120, 4))
    request = asking(
        chords_pb2.RecognizeChordsRequest,
        audio.name,
        settings=chords_pb2.ChordSettings(separate=True),
    )
    code, info = await refused(analysis.RecognizeChords(request))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "SETTING_UNSUPPORTED")
    assert info.metadata["setting"] == "separate"


async def test_a_request_id_means_one_request(analysis: Any, ingest: Ingest) -> None:
    """Repeating a request returns its operation; another under its id is REQUEST_ID_REUSED."""
    audio = ingest.put(signals.clicks(120, 4))
    request = asking(beats_pb2.TrackBeatsRequest, audio.name)
    first, again = await analysis.TrackBeats(request), await analysis.TrackBeats(request)
    assert first.name == again.name
    request.settings.bpm_hint = 90
    code, info = await refused(analysis.TrackBeats(request))
    assert (code, info.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_engines_are_listed(analysis: Any) -> None:
    """Every engine says whether it works; those that do not say what to do, page by page."""
    found: list[Any] = []
    request = engines_pb2.ListEnginesRequest(page_size=3)
    while True:
        page = await analysis.ListEngines(request)
        found += page.engines
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    by_name = {(e.capability, e.name): e for e in found}
    assert len(by_name) == len(found) >= 8
    assert by_name["beats", "chorale"].available
    assert by_name["key", "chorale"].is_default
    assert not by_name["beats", "madmom"].commercial_use
    for engine in found:
        assert engine.available != bool(engine.remedy)
    request.capability = "beats"
    request.page_token = "bm9uc2Vuc2U="
    code, info = await refused(analysis.ListEngines(request))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_what_is_not_built_says_so(analysis: Any) -> None:
    """Calls of the contract that this build does not serve: NOT_SERVED."""
    request = notes_pb2.TrackPitchRequest(audio=f"audio/{'0' * 64}", request_id=str(uuid.uuid4()))
    code, info = await refused(analysis.TrackPitch(request))
    assert (code, info.reason) == ("UNIMPLEMENTED", "NOT_SERVED")
