"""Between proto messages and the values that music knows."""

from collections.abc import Mapping
from dataclasses import asdict

from chorale.analysis.v1 import beats_pb2, harmony_pb2
from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale_audio.source import Source, Span

from chorale_analysis.engines import Engine
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.tonality import KeySettings, Tonality

# The state space grows with the square of the slowest beat; nobody taps beyond these.
_BPM_LEAST, _BPM_MOST = 20.0, 400.0
_MINIMUM_SECONDS_DEFAULT = 8.0


class SettingUnsupported(Exception):
    """The engine does not know a setting, or a value of it."""

    def __init__(self, setting: str, value: str, engine: str, known: str) -> None:
        super().__init__(setting, value, engine, known)
        self.setting, self.value, self.engine, self.known = setting, value, engine, known

    def __str__(self) -> str:
        return (
            f"The engine {self.engine!r} does not know {self.setting} = {self.value};"
            f" known: {self.known}."
        )


def span(message: audio_pb2.FrameSpan) -> Span:
    """The span of a request; an unset one is the whole."""
    return Span(message.start_frame, message.frame_count)


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


def key_settings(message: harmony_pb2.KeySettings) -> KeySettings:
    """Settings with defaults filled in."""
    return KeySettings(
        modulations=message.modulations,
        minimum_seconds=message.minimum_seconds or _MINIMUM_SECONDS_DEFAULT,
    )


def told(settings: RhythmSettings | KeySettings) -> Mapping[str, str]:
    """Every setting as it is in force."""
    return {name: f"{value:g}" for name, value in asdict(settings).items()}


def engine(value: Engine) -> engine_pb2.Engine:
    """An engine as `ListEngines` tells it."""
    weights = []
    if value.weights:
        weights = [engine_pb2.Weights(name=value.weights, licence=value.weights_licence)]
    return engine_pb2.Engine(
        name=value.name,
        capability=value.capability,
        version=value.version,
        code_licence=value.code_licence,
        weights_licence=value.weights_licence,
        commercial_use=value.allows_commercial_use,
        available=value.is_present,
        remedy=value.remedy,
        devices=value.devices,
        is_default=value.is_default,
        weights=weights,
        description=value.description,
        vocabularies=value.vocabularies,
    )


def provenance(
    requested: str, used: Engine, settings: Mapping[str, str], seconds: float
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


def estimate(by: Engine, seconds: float, cached: bool) -> audio_pb2.Estimate:
    """What the work would take."""
    return audio_pb2.Estimate(
        engine=by.name, device="cpu", seconds=0.0 if cached else seconds, cached=cached
    )


def beat_track(source: Source, value: Rhythm) -> beats_pb2.BeatTrack:
    """The rhythm of a source; meter is not known to this engine."""
    track = beats_pb2.BeatTrack(
        sample_rate_hz=source.sample_rate_hz,
        span=_span(source),
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


def key_track(source: Source, value: Tonality) -> harmony_pb2.KeyTrack:
    """The keys of a source."""
    track = harmony_pb2.KeyTrack(
        key=value.key,
        confidence=value.confidence,
        tuning_cents=value.tuning_cents,
        sample_rate_hz=source.sample_rate_hz,
    )
    for other in value.candidates:
        track.candidates.add(key=other.key, probability=other.probability, relation=other.relation)
    for region in value.regions:
        first = source.start_frame + round(region.start_seconds * source.sample_rate_hz)
        last = source.start_frame + round(region.end_seconds * source.sample_rate_hz)
        last = min(last, source.start_frame + source.frame_count)
        if track.regions:
            before = track.regions[-1].key
            track.modulations.add(frame=first, from_key=before, to_key=region.key)
        track.regions.add(
            span=audio_pb2.FrameSpan(start_frame=first, frame_count=last - first),
            key=region.key,
            confidence=region.confidence,
        )
    return track


def _span(source: Source) -> audio_pb2.FrameSpan:
    return audio_pb2.FrameSpan(start_frame=source.start_frame, frame_count=source.frame_count)
