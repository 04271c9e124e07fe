"""LocateSection over the wire: a snippet's place in its song, and the section there."""

from typing import Any

import grpc
import numpy as np
import pytest
import signals
from analysis_calls import asking, reason, refused, unpacked
from chorale.analysis.v1 import structure_pb2
from chorale.audio.v1 import audio_pb2
from chorale.ingest.v1 import audio_pb2 as ingest_audio_pb2
from chorale.ingest.v1 import ingest_service_pb2_grpc
from operation_calls import ended
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")
RATE_HZ = 22050


@pytest.fixture(scope="module")
def sound() -> signals.Signal:
    """Twenty seconds: chords with a beat in E minor, then others in A major."""
    first = signals.song(120, "E", "minor", 10.0)[::2]
    second = signals.song(97, "A", "major", 10.0)[::2]
    return np.concatenate([first, second])


@pytest.fixture(scope="module")
def song(ingest: Ingest, sound: signals.Signal) -> str:
    """The same, stored."""
    name: str = ingest.put(sound, RATE_HZ).name
    return name


async def _located(channel: Any, analysis: Any, audio: str, **fields: Any) -> Any:
    request = asking(structure_pb2.LocateSectionRequest, audio, **fields)
    operation, _ = await ended(channel, await analysis.LocateSection(request))
    return operation


async def test_a_snippet_is_found_by_its_sound(
    channel: Any, analysis: Any, ingest: Ingest, sound: signals.Signal, song: str
) -> None:
    """Three seconds with noise added are found to 30 ms, in the section that holds them."""
    snippet = sound[13 * RATE_HZ : 16 * RATE_HZ] + 0.1 * signals.noise(3, 4, rate_hz=RATE_HZ)
    audio = ingest.put(snippet.astype(np.float32), RATE_HZ).name
    operation = await _located(channel, analysis, audio, song=song)
    answer = unpacked(operation, structure_pb2.LocateSectionResponse)
    assert answer.song_span.start_frame / RATE_HZ == pytest.approx(13.0, abs=0.03)
    assert answer.song_span.frame_count == pytest.approx(3 * RATE_HZ, abs=2)
    assert answer.song == song
    section = answer.section
    assert section.start_seconds <= 14.5 <= section.end_seconds


async def test_a_cut_is_where_it_was_cut(
    channel: Any, analysis: Any, ingest: Ingest, song: str
) -> None:
    """What was cut from its song is found to the frame, however short, without listening."""
    with grpc.insecure_channel(ingest.address) as to_ingest:
        stub = ingest_service_pb2_grpc.IngestServiceStub(to_ingest)
        span = audio_pb2.FrameSpan(start_frame=44100, frame_count=11025)
        request = ingest_audio_pb2.CutAudioRequest(name=song, span=span)
        cut = stub.CutAudio(request).audio.name
    operation = await _located(channel, analysis, cut)
    answer = unpacked(operation, structure_pb2.LocateSectionResponse)
    assert answer.song_span == span
    assert answer.section.span.frame_count > 0


async def test_what_is_from_elsewhere_has_no_place(
    channel: Any, analysis: Any, ingest: Ingest, song: str
) -> None:
    """Another song's snippet is an answer without a section; noise has nothing to know it by."""
    other = ingest.put(signals.song(141, "C", "major", 3.0), signals.RATE_HZ).name
    operation = await _located(channel, analysis, other, song=song)
    answer = unpacked(operation, structure_pb2.LocateSectionResponse)
    assert not answer.HasField("section")
    assert not answer.HasField("song_span")
    for sound in (signals.noise(2, 9), signals.silence(2)):
        audio = ingest.put(sound).name
        operation = await _located(channel, analysis, audio, song=song)
        assert reason(operation.error).reason == "NOT_DISTINCTIVE"


async def test_a_snippet_without_a_song_is_refused(
    analysis: Any, ingest: Ingest, song: str
) -> None:
    """What was cut from nothing needs its song named; half a second is too little to find."""
    request = asking(structure_pb2.LocateSectionRequest, song)
    _, info = await refused(analysis.LocateSection(request))
    assert info.reason == "SETTING_UNSUPPORTED"
    span = audio_pb2.FrameSpan(frame_count=11025)
    request = asking(structure_pb2.LocateSectionRequest, song, song=song, span=span)
    _, info = await refused(analysis.LocateSection(request))
    assert info.reason == "AUDIO_TOO_SHORT"
