"""Between proto messages and the values that music knows."""

import math
from collections.abc import Mapping

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.mastering.v1 import loudness_pb2
from chorale_audio.source import Source, Span

from chorale_mastering.engines import Engine
from chorale_mastering.loudness import ABSOLUTE_GATE_LUFS, Curve, Loudness, Reading
from chorale_mastering.weighting import CHANNEL_WEIGHTS

# Digital silence has no peak. -inf is no JSON number, so it is told as a level far below what
# 32 bits can hold.
SILENT_PEAK_DB = -200.0

_LAYOUTS: Mapping[int, tuple[float, ...]] = {
    loudness_pb2.CHANNEL_LAYOUT_MONO: CHANNEL_WEIGHTS[1],
    loudness_pb2.CHANNEL_LAYOUT_DUAL_MONO: (2.0,),  # the same power from two loudspeakers
    loudness_pb2.CHANNEL_LAYOUT_STEREO: CHANNEL_WEIGHTS[2],
    loudness_pb2.CHANNEL_LAYOUT_SURROUND_5_1: CHANNEL_WEIGHTS[6],
    loudness_pb2.CHANNEL_LAYOUT_SURROUND_7_1: CHANNEL_WEIGHTS[8],
}


class LayoutMismatch(Exception):
    """The layout asked for has another number of channels than the sound."""

    def __init__(self, channel_layout: str, channel_count: int) -> None:
        super().__init__(channel_layout, channel_count)
        self.setting, self.value = "channel_layout", channel_layout
        self.channel_count = channel_count

    def __str__(self) -> str:
        return f"{self.value} does not fit sound of {self.channel_count} channels."


class StreamOutOfOrder(Exception):
    """A message of a stream comes in the wrong order."""

    def __init__(self, needed: str) -> None:
        super().__init__(needed)
        self.needed = needed

    def __str__(self) -> str:
        return f"The stream needs {self.needed}."


def weights(layout: int, channel_count: int) -> tuple[float, ...]:
    """The weight of every channel; raises `LayoutMismatch`."""
    chosen = _LAYOUTS.get(layout, CHANNEL_WEIGHTS[channel_count])
    if len(chosen) != channel_count:
        raise LayoutMismatch(loudness_pb2.ChannelLayout.Name(layout), channel_count)
    return chosen


def span(message: audio_pb2.FrameSpan) -> Span:
    """The span of a request; an unset one is the whole."""
    return Span(message.start_frame, message.frame_count)


def engine(value: Engine) -> engine_pb2.Engine:
    """An engine as `ListEngines` tells it."""
    return engine_pb2.Engine(
        name=value.name,
        capability=value.capability,
        version=value.version,
        code_licence=value.code_licence,
        commercial_use=True,
        available=True,
        devices=value.devices,
        is_default=value.is_default,
        description=value.description,
    )


def provenance(
    requested: str, used: Engine, settings: Mapping[str, str], seconds: float = 0.0
) -> engine_pb2.Provenance:
    """What made an answer."""
    message = engine_pb2.Provenance(
        engine_requested=requested or "auto",
        engine_used=used.name,
        engine_version=used.version,
        settings=settings,
        device="cpu",
    )
    message.processing_time.FromMilliseconds(round(seconds * 1000))
    return message


def loudness(value: Loudness) -> loudness_pb2.Loudness:
    """What was measured, with what is empty told as the contract says."""
    integrated = value.integrated_lufs
    return loudness_pb2.Loudness(
        integrated_lufs=_gated(integrated),
        loudness_range_lu=value.range_lu or 0.0,
        max_momentary_lufs=_gated(value.momentary_max_lufs),
        max_short_term_lufs=_gated(value.short_term_max_lufs),
        true_peak_dbtp=_peak(value.true_peak_dbtp),
        sample_peak_dbfs=_peak(value.sample_peak_dbfs),
        peak_to_loudness_lu=value.peak_to_loudness_lu or 0.0,
        peak_to_short_term_lu=value.peak_to_short_term_lu or 0.0,
        stereo_correlation=value.stereo_correlation,
        dynamic_range_db=value.dynamic_range_db,
        spectrum_db=value.third_octaves_db,
        channel_true_peak_dbtp=[_peak(peak) for peak in value.channel_true_peaks_dbtp],
        gated_out=integrated is None,
        frame_count=value.frame_count,
        sample_rate_hz=value.sample_rate_hz,
        channel_count=value.channel_count,
    )


def curve(value: Curve) -> loudness_pb2.LoudnessCurve:
    """Loudness over time."""
    return loudness_pb2.LoudnessCurve(
        hop_frames=value.hop_frames,
        momentary_lufs=[_gated(point) for point in value.momentary_lufs],
        short_term_lufs=[_gated(point) for point in value.short_term_lufs],
        true_peak_dbtp=[_peak(point) for point in value.true_peak_dbtp],
    )


def measured(
    source: Source, value: Loudness, made_by: engine_pb2.Provenance
) -> loudness_pb2.MeasureLoudnessResponse:
    """The response to MeasureLoudness."""
    return loudness_pb2.MeasureLoudnessResponse(
        loudness=loudness(value),
        provenance=made_by,
        curve=None if value.curve is None else curve(value.curve),
        audio=source.audio,
        span=audio_pb2.FrameSpan(start_frame=source.start_frame, frame_count=source.frame_count),
    )


def estimated(by: Engine, seconds: float, cached: bool) -> loudness_pb2.MeasureLoudnessResponse:
    """The response to MeasureLoudness when it was only to be estimated."""
    estimate = audio_pb2.Estimate(
        engine=by.name, device="cpu", seconds=0.0 if cached else seconds, cached=cached
    )
    return loudness_pb2.MeasureLoudnessResponse(estimate=estimate)


def metered(
    reading: Reading,
    revision: int,
    made_by: engine_pb2.Provenance | None,
    is_final: bool = False,
) -> loudness_pb2.MeterStreamResponse:
    """One answer of a live meter."""
    return loudness_pb2.MeterStreamResponse(
        span=audio_pb2.FrameSpan(start_frame=0, frame_count=reading.loudness.frame_count),
        revision=revision,
        is_final=is_final,
        momentary_lufs=_gated(reading.momentary_lufs),
        short_term_lufs=_gated(reading.short_term_lufs),
        loudness=loudness(reading.loudness),
        provenance=made_by,
    )


def _gated(value_lufs: float | None) -> float:
    return ABSOLUTE_GATE_LUFS if value_lufs is None else max(value_lufs, ABSOLUTE_GATE_LUFS)


def _peak(value_db: float) -> float:
    return value_db if math.isfinite(value_db) else SILENT_PEAK_DB
