"""Properties of sections."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import signals
from analysis_calls import asking, reason, refused, unpacked
from chorale.analysis.v1 import structure_pb2
from chorale_analysis.beats import track_beats
from chorale_analysis.onsets import OnsetListener
from chorale_analysis.pitches import Pitches, PitchListener
from chorale_analysis.rhythm import Meter, Rhythm, RhythmSettings
from chorale_analysis.segmentation import segment
from chorale_analysis.spectra import RATE_HZ
from chorale_analysis.structure import Form, StructureSettings
from operation_calls import ended
from signals import Signal
from standing_ingest import Ingest


def song(rate_hz: int) -> Signal:
    """A B A B: eight bars of one cadence under clicks, eight of another, and both again."""
    parts = {
        "A": signals.cadence("C", "major", 4, 1.0, rate_hz),
        "B": 0.9 * signals.cadence("Eb", "minor", 4, 1.0, rate_hz)[::-1],
    }
    music = np.concatenate([parts[name] for name in "ABAB"])
    beat = signals.clicks(120, len(music) / rate_hz, 3, 0.0, rate_hz=rate_hz)
    return np.clip(0.7 * music + 0.5 * beat[: len(music)], -1.0, 1.0).astype(np.float32)


def listened(sound: Signal) -> tuple[Pitches, Rhythm, float]:
    """The notes, rhythm and length of a sound at the listening rate."""
    pitches, onsets = PitchListener(), OnsetListener()
    pitches.push(np.ascontiguousarray(sound[:, 0]))
    onsets.push(np.ascontiguousarray(sound[:, 0]))
    seconds = len(sound) / RATE_HZ
    return pitches.finish(), track_beats(onsets.finish(), seconds, RhythmSettings()), seconds


def cut(sound: Signal, **settings: Any) -> Form:
    """The sections of a sound at the listening rate."""
    return segment(*listened(sound), StructureSettings(**settings))


def test_sections_begin_where_music_changes() -> None:
    """Every change is found to within a second, and what returns is of one group."""
    form = cut(song(RATE_HZ))
    starts = np.array([section.start_seconds for section in form.sections])
    for change in (16.0, 32.0, 48.0):
        assert np.abs(starts - change).min() < 1.0
    at = {change: int(np.argmin(np.abs(starts - change))) for change in (0.0, 16.0, 32.0, 48.0)}
    groups = {change: form.sections[place].group for change, place in at.items()}
    assert groups[0.0] == groups[32.0] != groups[16.0] == groups[48.0]


def test_sections_have_no_holes() -> None:
    """Sections cover all the time, none is too short, and no more are told than asked for."""
    form = cut(song(RATE_HZ), minimum_seconds=10.0, section_limit=3)
    assert form.sections[0].start_seconds == 0.0
    assert form.sections[-1].end_seconds == pytest.approx(64.0, abs=0.01)
    assert all(one.end_seconds == two.start_seconds for one, two in pairwise(form.sections))
    assert len(form.sections) <= 3
    assert min(s.end_seconds - s.start_seconds for s in form.sections) >= 9.9


def test_sections_begin_on_downbeats_if_asked_to() -> None:
    """Then every inner edge is where a bar begins, near where it was without; no hole comes of it.

    Clicks alike tell no bars, so which beats begin them is given.
    """
    pitches, rhythm, seconds = listened(song(RATE_HZ))
    placed = tuple(replace(b, position=n % 4 + 1) for n, b in enumerate(rhythm.beats))
    rhythm = replace(rhythm, beats=placed, meters=(Meter(4, 1.0),))
    free = segment(pitches, rhythm, seconds, StructureSettings())
    form = segment(pitches, rhythm, seconds, StructureSettings(on_downbeats=True))
    downbeats = {beat.seconds for beat in placed if beat.position == 1}
    starts = [section.start_seconds for section in form.sections]
    assert len(starts) == len(free.sections) > 2
    assert set(starts[1:]) <= downbeats
    assert starts == pytest.approx([one.start_seconds for one in free.sections], abs=1.1)
    assert all(one.end_seconds == two.start_seconds for one, two in pairwise(form.sections))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_is_one_section(seed: int) -> None:
    """Where nothing changes nothing is cut, and no name is made up."""
    form = cut(signals.noise(30, seed, 1, RATE_HZ))
    assert [(s.label, s.confidence) for s in form.sections] == [("", 0.0)]


@pytest.mark.asyncio(loop_scope="session")
async def test_sections_come_over_the_wire(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Sections come at their frames; silence, shortness and unknown settings are refused."""
    kind = structure_pb2.SegmentRequest
    audio = ingest.put(song(signals.RATE_HZ)[: 40 * signals.RATE_HZ])
    done, _ = await ended(channel, await analysis.Segment(asking(kind, audio.name)))
    answer = unpacked(done, structure_pb2.SegmentResponse)
    spans = [section.span for section in answer.structure.sections]
    assert len(spans) >= 3
    assert spans[0].start_frame == 0
    assert spans[-1].start_frame + spans[-1].frame_count == audio.frame_count
    quiet = ingest.put(signals.silence(10))
    done, _ = await ended(channel, await analysis.Segment(asking(kind, quiet.name)))
    assert reason(done.error).reason == "AUDIO_SILENT"
    short = ingest.put(signals.clicks(120, 4))
    _, info = await refused(analysis.Segment(asking(kind, short.name)))
    assert info.reason == "AUDIO_TOO_SHORT"
    settings = structure_pb2.SegmentSettings(window_seconds=30)
    _, info = await refused(analysis.Segment(asking(kind, audio.name, settings=settings)))
    assert info.reason == "SETTING_UNSUPPORTED"
