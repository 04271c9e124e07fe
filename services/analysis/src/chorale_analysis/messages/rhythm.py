"""Rhythm between messages and values."""

from chorale.analysis.v1 import beats_pb2
from chorale_audio.source import Source

from chorale_analysis.engines import Engine
from chorale_analysis.messages.engines import SettingUnsupported, heard_span
from chorale_analysis.rhythm import Rhythm, RhythmSettings

# The state space grows with the square of the slowest beat; nobody taps beyond these.
_BPM_LEAST, _BPM_MOST = 20.0, 400.0


def rhythm_settings(message: beats_pb2.BeatSettings, by: Engine) -> RhythmSettings:
    """Settings with defaults filled in; raises `SettingUnsupported`."""
    if message.beats_per_bar:
        found = ",".join(map(str, message.beats_per_bar))
        raise SettingUnsupported("beats_per_bar", found, by.name, "empty")
    if message.local_meter:
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
    )


def beat_track(source: Source, value: Rhythm) -> beats_pb2.BeatTrack:
    """The rhythm of a source; meter is not known to this engine."""
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
        )
        track.tempo_curve.add(frame=frame, bpm=bpm)
    for tempo in value.candidates:
        track.tempo_candidates.add(bpm=tempo.bpm, probability=tempo.probability)
    return track
