"""MeasureDynamics over the wire: levels of signals whose levels are known."""

from typing import Any

import numpy as np
import pytest
import signals
from analysis_calls import asking, refused, unpacked
from chorale.analysis.v1 import dynamics_pb2
from chorale.audio.v1 import audio_pb2
from operation_calls import ended
from standing_ingest import Ingest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _measured(channel: Any, analysis: Any, audio: str, **fields: Any) -> Any:
    request = asking(dynamics_pb2.MeasureDynamicsRequest, audio, **fields)
    operation, _ = await ended(channel, await analysis.MeasureDynamics(request))
    return unpacked(operation, dynamics_pb2.MeasureDynamicsResponse)


async def test_levels_and_silence_are_where_they_are(
    channel: Any, analysis: Any, ingest: Ingest
) -> None:
    """Half a second of silence, a tone, a pause, a softer tone: all found to 20 ms and 0.1 dB."""
    sound = signals.steps([(None, 0.5), (-20, 2.0), (None, 1.0), (-30, 1.5), (None, 0.5)])
    answer = await _measured(channel, analysis, ingest.put(sound).name)
    found, rate = answer.dynamics, signals.RATE_HZ
    assert found.trimmed_span.start_frame / rate == pytest.approx(0.5, abs=0.02)
    assert found.trimmed_span.frame_count / rate == pytest.approx(4.5, abs=0.03)
    spans = [(s.start_frame / rate, s.frame_count / rate) for s in found.silences]
    expected = [(0.0, 0.5), (2.5, 1.0), (5.0, 0.5)]
    assert np.abs(np.array(spans) - expected).max() < 0.03
    hop = found.hop_frames / rate
    assert hop == 0.1
    assert found.rms_dbfs[round(1.5 / hop)] == pytest.approx(-23.01, abs=0.1)
    assert found.rms_dbfs[round(4.2 / hop)] == pytest.approx(-33.01, abs=0.1)
    assert found.rms_dbfs[round(3.0 / hop)] == -120.0
    assert found.momentary_lufs[round(2.0 / hop)] == pytest.approx(-20.0, abs=0.1)
    assert max(found.onset_strength) == pytest.approx(1.0)
    assert found.onset_strength[round(0.5 / hop)] > 0.2
    again = await _measured(channel, analysis, answer.audio)
    assert again.provenance.from_cache
    assert again.dynamics == found


async def test_silence_is_an_answer(channel: Any, analysis: Any, ingest: Ingest) -> None:
    """Digital black is one silence, as soft as can be told, with nothing to keep."""
    audio = ingest.put(signals.silence(1.0)).name
    found = (await _measured(channel, analysis, audio)).dynamics
    assert (found.integrated_lufs, found.loudness_range_lu) == (-70.0, 0.0)
    assert [(s.start_frame, s.frame_count) for s in found.silences] == [(0, signals.RATE_HZ)]
    assert found.trimmed_span.frame_count == 0
    assert set(found.rms_dbfs) == {-120.0}
    assert not any(found.onset_strength)


async def test_curves_have_as_many_points_as_asked_for(
    channel: Any, analysis: Any, ingest: Ingest
) -> None:
    """At most; and the shortest sound there is has one."""
    audio = ingest.put(signals.noise(4.0, 5, 1, rate_hz=8000), 8000).name
    few = (await _measured(channel, analysis, audio, curve_points=7)).dynamics
    assert 5 <= len(few.rms_dbfs) <= 7
    assert len(few.rms_dbfs) == len(few.momentary_lufs) == len(few.onset_strength)
    assert min(few.rms_dbfs) == pytest.approx(-20.0, abs=0.5)
    span = audio_pb2.FrameSpan(start_frame=3, frame_count=1)
    one = (await _measured(channel, analysis, audio, span=span)).dynamics
    assert len(one.rms_dbfs) == 1
    assert one.integrated_lufs == -70.0


async def test_an_estimate_starts_nothing(analysis: Any, ingest: Ingest) -> None:
    """`validate_only` says what it would cost; engines that are none are refused."""
    audio = ingest.put(signals.sine(-20, 1)).name
    request = asking(dynamics_pb2.MeasureDynamicsRequest, audio, validate_only=True)
    operation = await analysis.MeasureDynamics(request)
    assert unpacked(operation, dynamics_pb2.MeasureDynamicsResponse).estimate.seconds > 0
    request = asking(dynamics_pb2.MeasureDynamicsRequest, audio, engine="madmom")
    _, info = await refused(analysis.MeasureDynamics(request))
    assert info.reason == "ENGINE_UNKNOWN"
