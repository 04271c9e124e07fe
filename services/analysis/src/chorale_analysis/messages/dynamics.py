"""Dynamics between messages and values."""

from chorale.analysis.v1 import dynamics_pb2
from chorale_audio.source import Source

from chorale_analysis.dynamics import Dynamics, DynamicsSettings
from chorale_analysis.messages.engines import stretch


def dynamics_settings(request: dynamics_pb2.MeasureDynamicsRequest) -> DynamicsSettings:
    """Settings, which stand in the request itself, with defaults filled in."""
    usual = DynamicsSettings()
    given = request.HasField("silence_below_peak_db")
    return DynamicsSettings(
        silence_below_peak_db=(
            request.silence_below_peak_db if given else usual.silence_below_peak_db
        ),
        curve_points=request.curve_points or usual.curve_points,
    )


def dynamics(source: Source, value: Dynamics) -> dynamics_pb2.Dynamics:
    """The dynamics of a source."""
    message = dynamics_pb2.Dynamics(
        hop_frames=round(value.hop_seconds * source.sample_rate_hz),
        rms_dbfs=value.rms_dbfs,
        momentary_lufs=value.momentary_lufs,
        onset_strength=value.onset_strength,
        integrated_lufs=value.integrated_lufs,
        loudness_range_lu=value.range_lu,
        sample_rate_hz=source.sample_rate_hz,
    )
    if value.trimmed.end_seconds > value.trimmed.start_seconds:
        heard = value.trimmed
        message.trimmed_span.CopyFrom(stretch(source, heard.start_seconds, heard.end_seconds))
    for silence in value.silences:
        span = stretch(source, silence.start_seconds, silence.end_seconds)
        message.silences.append(span)
    return message
