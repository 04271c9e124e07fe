"""Rhythm between messages and values."""

from chorale.analysis.v1 import beats_pb2
from chorale_audio.source import Source

from chorale_analysis.engines import Engine
from chorale_analysis.messages.engines import (
    SettingUnsupported,
    frame,
    heard_span,
    stretch,
)
from chorale_analysis.rhythm import Rhythm, RhythmSettings, bars

# The state space grows with the square of the slowest beat; nobody taps beyond these.
_BPM_LEAST, _BPM_MOST = 20.0, 400.0
_DECODING_BARS = ("chorale", "chorale+madmom")  # by `meter`, not by rules of their own


def rhythm_settings(message: beats_pb2.BeatSettings, by: Engine) -> RhythmSettings:
    """Settings with defaults filled in; raises `SettingUnsupported`."""
    if message.local_meter and by.name not in _DECODING_BARS:
        raise SettingUnsupported("local_meter", "true", by.name, "false")
    usual = RhythmSettings()
    slowest = max(message.bpm_min or usual.bpm_min, _BPM_LEAST)
    fastest = min(message.bpm_max or usual.bpm_max, _BPM_MOST)
    # Set alone, one bound may lie beyond the other's default.
    slowest, fastest = (
        (slowest, max(slowest, fastest)) if message.bpm_min else (min(slowest, fastest), fastest)
    )
    held = message.HasField("transition_lambda")
    return RhythmSettings(
        bpm_min=slowest,
        bpm_max=fastest,
        bpm_hint=message.bpm_hint,
        from_peaks=message.decoder == beats_pb2.BEAT_DECODER_PEAKS,
        transition_lambda=message.transition_lambda if held else usual.transition_lambda,
        threshold=message.threshold if message.HasField("threshold") else usual.threshold,
        beats_per_bar=tuple(sorted(message.beats_per_bar)),
        local_meter=message.local_meter,
    )


def beat_track(source: Source, value: Rhythm) -> beats_pb2.BeatTrack:
    """The rhythm of a source."""
    track = beats_pb2.BeatTrack(
        sample_rate_hz=source.sample_rate_hz,
        span=heard_span(source),
        bpm=value.bpm,
        bpm_confidence=value.bpm_confidence,
        tempo_stability=value.stability,
        duration_seconds=source.duration_seconds,
        beat_count=len(value.beats),
    )
    start_seconds = source.start_frame / source.sample_rate_hz
    for beat, bpm in zip(value.beats, value.curve_bpm, strict=True):
        frame = source.start_frame + round(beat.seconds * source.sample_rate_hz)
        track.beats.add(
            frame=frame,
            seconds=start_seconds + beat.seconds,
            strength=beat.strength,
            confidence=beat.confidence,
            position=beat.position,
            is_downbeat=beat.position == 1,
        )
        track.tempo_curve.add(frame=frame, bpm=bpm)
    for tempo in value.candidates:
        track.tempo_candidates.add(bpm=tempo.bpm, probability=tempo.probability)
    if value.meters:
        _meter(source, value, track)
    return track


def _meter(source: Source, value: Rhythm, track: beats_pb2.BeatTrack) -> None:
    """Tells the meter and its bars."""
    chosen = value.meters[0]
    track.time_signature = chosen.time_signature
    track.beats_per_bar = chosen.beats_per_bar
    track.meter_confidence = chosen.probability
    track.downbeat_count = sum(beat.position == 1 for beat in value.beats)
    for number, meter in enumerate(value.meters):
        if number:
            track.meter_candidates.add(
                time_signature=meter.time_signature, probability=meter.probability
            )
        track.downbeat_candidates.add(
            beats_per_bar=meter.beats_per_bar,
            frames=[frame(source, seconds) for seconds in meter.downbeat_seconds],
            probability=meter.probability,
            is_chosen=number == 0,
            strategy="state_space",
        )
    for bar in bars(value, source.duration_seconds):
        span = stretch(source, bar.start_seconds, bar.end_seconds)
        track.bars.add(
            number=bar.number,
            start_frame=span.start_frame,
            frame_count=span.frame_count,
            beat_count=bar.beat_count,
            beat_unit=8 if chosen.is_compound else 4,
            bpm=bar.bpm,
            is_pickup=bar.number == 0,
        )
