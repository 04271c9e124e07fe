"""StreamAnalysis over the wire, and the causal ear behind it."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import signals
from analysis_calls import refused
from chorale.analysis.v1 import live_pb2
from chorale.audio.v1 import audio_pb2
from chorale_analysis.harmony import ChordSettings
from chorale_analysis.live.ear import Ear
from chorale_analysis.live.heard import BEATS, CHORDS, DYNAMICS, KEY, Wanted, Whole
from chorale_analysis.rhythm import RhythmSettings

RATE_HZ = 22050
_ALL = frozenset({BEATS, CHORDS, KEY, DYNAMICS})


def _heard(sound: signals.Signal, rate_hz: int = RATE_HZ, block: int = 1024) -> tuple[Whole, Any]:
    """What an ear makes of a sound that comes in blocks, and all that it told on the way."""
    wanted = Wanted(rate_hz, sound.shape[1], _ALL, RhythmSettings(), ChordSettings())
    ear, told = Ear(wanted), []
    for first in range(0, len(sound), block):
        ear.push(sound[first : first + block])
        told += ear.told()
    return ear.finish(), told


@pytest.fixture(scope="module")
def song() -> signals.Signal:
    """Twelve seconds of four chords in A minor over clicks at 150 BPM."""
    harmony = signals.cadence("A", "minor", 4, 0.8, rate_hz=RATE_HZ)[: 12 * RATE_HZ]
    beats = signals.clicks(150, len(harmony) / RATE_HZ, rate_hz=RATE_HZ)
    mixed: signals.Signal = np.clip(0.5 * harmony + beats[: len(harmony)], -1, 1).astype(np.float32)
    return mixed


@pytest.fixture(scope="module")
def whole(song: signals.Signal) -> tuple[Whole, Any]:
    """What the ear finds in that song."""
    return _heard(song)


def test_a_song_is_known_when_it_ends(whole: tuple[Whole, Any]) -> None:
    """Tempo, key and chords of the whole are those that were played."""
    found, _ = whole
    assert found.rhythm is not None
    assert found.key is not None
    assert found.chords is not None
    assert found.rhythm.bpm == pytest.approx(150, rel=0.02)
    assert found.key.key == "A minor"
    labels = [chord.label for chord in found.chords]
    assert labels[:4] == ["A:min", "D:min", "E:maj", "A:min"]


def test_what_is_found_does_not_depend_on_the_blocks(
    song: signals.Signal, whole: tuple[Whole, Any]
) -> None:
    """Frames in odd blocks, or all at once, give the same whole to the last bit."""
    assert _heard(song, block=len(song))[0] == whole[0]
    short = song[: 2 * RATE_HZ]
    assert _heard(short, block=777)[0] == _heard(short, block=len(short))[0]


def test_what_is_decided_stays(whole: tuple[Whole, Any]) -> None:
    """Final stretches follow each other without gaps, and the whole agrees with them."""
    found, told = whole
    final = [one for one in told if one.is_decided]
    assert len(final) >= 3
    assert final[0].start_seconds == 0.0
    for one, after in itertools.pairwise(final):
        assert one.end_seconds == after.start_seconds
    assert found.rhythm is not None
    end = final[-1].end_seconds
    decided = [beat.seconds for one in final for beat in one.beats]
    assert decided == [beat.seconds for beat in found.rhythm.beats if beat.seconds < end]


def test_stability_is_measured(whole: tuple[Whole, Any]) -> None:
    """What is told early of steady music mostly stays; what is final, surely."""
    _, told = whole
    assert {one.stability for one in told if one.is_decided} == {1.0}
    assert told[0].stability == 0.5
    assert 0.5 < told[-1].stability < 1.0


@pytest.mark.parametrize(
    "sound",
    [
        signals.silence(4, rate_hz=RATE_HZ),
        signals.noise(6, 3, 1, rate_hz=RATE_HZ),
        np.full((4 * RATE_HZ, 1), 0.5, np.float32),
        np.sign(signals.noise(4, 1, 1, rate_hz=RATE_HZ)).astype(np.float32),
        signals.noise(1, 1)[:1],
        signals.noise(3, 2, 8, rate_hz=RATE_HZ),
        signals.sine(-6, 4, 1, rate_hz=RATE_HZ),
        np.zeros((0, 1), np.float32),
    ],
    ids=["silence", "noise", "offset", "clipped", "one-frame", "8-channels", "tone", "nothing"],
)
def test_nothing_is_made_up(sound: signals.Signal) -> None:
    """What has no beat has no tempo, and what has no harmony no key and no chords to trust."""
    found, told = _heard(sound)
    assert found.rhythm is not None
    assert found.chords is not None
    assert found.rhythm.bpm == 0.0
    assert not found.rhythm.beats
    assert {one.bpm for one in told} <= {0.0}
    if len(np.unique(sound)) < 1000 or sound.shape[1] == 8:
        assert all(c.label == "N" or c.confidence < 0.2 for c in found.chords)


def test_music_at_8_khz_has_its_key() -> None:
    """Half the band is enough for harmony."""
    found, _ = _heard(signals.cadence("C", "major", 2, 0.8, rate_hz=8000), 8000, 400)
    assert found.key is not None
    assert found.key.key == "C major"


def test_loudness_is_that_of_the_standard() -> None:
    """A tone of 997 Hz at -20 dBFS peak in one channel measures -23.0 LUFS at any rate."""
    for rate_hz in (8000, 48000):
        tone = signals.sine(-20, 1.5, 1, 997, rate_hz)
        wanted = Wanted(rate_hz, 1, frozenset({DYNAMICS}), RhythmSettings(), ChordSettings())
        ear = Ear(wanted)
        ear.push(tone)
        loudness = ear.finish().loudness
        assert loudness is not None
        assert loudness.momentary_lufs[-1] == pytest.approx(-23.01, abs=0.1)
        assert loudness.integrated_lufs == pytest.approx(-23.01, abs=0.1)


def _requests(sound: signals.Signal, block: int, **config: Any) -> Iterator[Any]:
    sound_format = audio_pb2.PcmFormat(sample_rate_hz=RATE_HZ, channel_count=sound.shape[1])
    yield live_pb2.StreamAnalysisRequest(
        config=live_pb2.StreamAnalysisConfig(format=sound_format, **config)
    )
    for first in range(0, len(sound), block):
        frames = np.ascontiguousarray(sound[first : first + block], "<f4").tobytes()
        yield live_pb2.StreamAnalysisRequest(frames=frames)


async def _answers(analysis: Any, requests: Any) -> list[Any]:
    return [answer async for answer in analysis.StreamAnalysis(requests)]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_stream_is_answered_while_it_plays(
    analysis: Any, song: signals.Signal, whole: tuple[Whole, Any]
) -> None:
    """Revisions count up, the last answer is final and tells of all frames what the ear found."""
    answers = await _answers(analysis, _requests(song, 2205))
    assert [a.revision for a in answers] == list(range(1, len(answers) + 1))
    assert answers[0].provenance.engine_used == "chorale"
    last = answers[-1]
    assert last.is_final
    assert last.span.frame_count == len(song)
    assert last.timeline.key.key == "A minor"
    found, _ = whole
    assert found.rhythm is not None
    expected = [round(beat.seconds * RATE_HZ) for beat in found.rhythm.beats]
    assert [beat.frame for beat in last.timeline.beats.beats] == expected
    assert any(not a.is_final and a.beats and a.chords and a.key.key for a in answers)
    assert all(a.lag_frames < 0.4 * RATE_HZ for a in answers[5:] if not a.is_final)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_stream_that_nobody_fills_ends(analysis: Any) -> None:
    """A config and then the end are answered by one message about nothing."""
    answers = await _answers(analysis, _requests(np.zeros((0, 2), np.float32), 1))
    assert len(answers) == 1
    assert answers[0].is_final
    assert answers[0].timeline.beats.bpm == 0.0


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    ("config", "frames", "reason"),
    [
        ({"latency_ms": 60}, b"", "SETTING_UNSUPPORTED"),
        ({"features": ["FEATURE_STEMS"]}, b"", "SETTING_UNSUPPORTED"),
        ({"beats": {"beats_per_bar": [3]}}, b"", "SETTING_UNSUPPORTED"),
        ({"beats": {"local_meter": True}}, b"", "SETTING_UNSUPPORTED"),
        ({"chords": {"editing": {"simplify": True}}}, b"", "SETTING_UNSUPPORTED"),
        ({"engine": "madmom"}, b"", "ENGINE_UNKNOWN"),
        ({}, b"123", "FRAMES_INVALID"),
        ({}, np.full(22050, np.nan, "<f4").tobytes(), "FRAMES_INVALID"),
    ],
)
async def test_what_cannot_be_listened_to_is_refused(
    analysis: Any, config: Any, frames: bytes, reason: str
) -> None:
    """A setting that is not held, an engine that is not there and frames that are none."""
    requests = list(_requests(np.zeros((0, 1), np.float32), 1, **config))
    requests.append(live_pb2.StreamAnalysisRequest(frames=frames))
    _, info = await refused(_answers(analysis, iter(requests)))
    assert info.reason == reason


@pytest.mark.asyncio(loop_scope="session")
async def test_one_stream_that_breaks_off_leaves_the_others_alone(
    analysis: Any, song: signals.Signal
) -> None:
    """A caller that goes away in the middle costs the stream beside it nothing."""
    calls = [analysis.StreamAnalysis(_slowly(song[:44100])) for _ in range(2)]
    async for _ in calls[0]:
        calls[0].cancel()
        break
    answers = [answer async for answer in calls[1]]
    assert answers[-1].span.frame_count == 44100


async def _slowly(sound: signals.Signal) -> AsyncIterator[Any]:
    for request in _requests(sound, 4410):
        yield request
        await asyncio.sleep(0)


@pytest.mark.asyncio(loop_scope="session")
async def test_messages_have_an_order(analysis: Any) -> None:
    """Frames before the config are refused, and a second config."""
    config, frames = _requests(np.zeros((100, 1), np.float32), 100)
    for requests in ([frames], [config, config]):
        _, info = await refused(_answers(analysis, iter(requests)))
        assert info.reason == "STREAM_OUT_OF_ORDER"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_stream_whose_listener_is_killed_is_told(
    analysis: Any, song: signals.Signal
) -> None:
    """What it had heard is gone: UNAVAILABLE. The next stream is listened to."""
    listened = asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        for request in _requests(song, 11025):
            yield request
            if request.WhichOneof("message") == "frames":
                await listened.wait()

    async def answers() -> None:
        async for _ in analysis.StreamAnalysis(requests()):
            if not listened.is_set():
                for process in _workers():
                    os.kill(process, signal.SIGKILL)
                listened.set()

    code, info = await refused(answers())
    assert (code, info.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    assert (await _answers(analysis, _requests(song[:44100], 11025)))[-1].is_final


def _workers() -> list[int]:
    """The worker processes of the service in this process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == os.getpid() and b"processes_child" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
