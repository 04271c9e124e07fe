"""What is heard while it plays, between messages and values."""

from chorale.analysis.v1 import (
    beats_pb2,
    harmony_pb2,
    live_pb2,
    timeline_pb2,
)
from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale_audio.encoding import Encoding
from chorale_audio.source import Source, Store

from chorale_analysis.dynamics import QUIETEST_LUFS
from chorale_analysis.engines import Engine
from chorale_analysis.harmony import Editing, Harmony
from chorale_analysis.live.heard import BEATS, CHORDS, DYNAMICS, KEY, Heard, Wanted, Whole
from chorale_analysis.messages.dynamics import dynamics
from chorale_analysis.messages.engines import SettingUnsupported
from chorale_analysis.messages.harmony import (
    chord_message,
    chord_settings,
    chord_track,
    key_track,
)
from chorale_analysis.messages.rhythm import beat_track, rhythm_settings

FEATURES = (BEATS, CHORDS, KEY, DYNAMICS)
LATENCY_MS_DEFAULT, LATENCY_MS_LEAST = 250, 200
_LISTENING_MS = 200  # that listening itself lies behind the sound at most; the rest is waiting
_EVERY_SECONDS_LEAST = 0.05


def wanted(config: live_pb2.StreamAnalysisConfig, by: Engine) -> Wanted:
    """What to listen for, defaults filled in; raises `SettingUnsupported`."""
    names = [
        timeline_pb2.Feature.Name(one).removeprefix("FEATURE_").lower() for one in config.features
    ]
    for name in names:
        if name not in FEATURES:
            raise SettingUnsupported("features", name, by.name, ",".join(FEATURES))
    if config.beats.decoder == beats_pb2.BEAT_DECODER_PEAKS:
        raise SettingUnsupported("beats.decoder", "peaks", by.name, "state_space")
    if config.beats.beats_per_bar:
        bars = ",".join(map(str, config.beats.beats_per_bar))
        raise SettingUnsupported("beats.beats_per_bar", bars, by.name, "none: bars are not told")
    if config.beats.local_meter:
        raise SettingUnsupported("beats.local_meter", "true", by.name, "false: bars are not told")
    chords = chord_settings(config.chords, by)
    if chords.editing != Editing():
        raise SettingUnsupported("chords.editing", "set", by.name, "unset; see EditChords")
    return Wanted(
        sample_rate_hz=config.format.sample_rate_hz,
        channel_count=config.format.channel_count,
        features=frozenset(names or FEATURES),
        rhythm=rhythm_settings(config.beats, by),
        chords=chords,
    )


def every_seconds(config: live_pb2.StreamAnalysisConfig, by: Engine) -> float:
    """How much sound may wait before it is listened to; raises `SettingUnsupported`."""
    latency = config.latency_ms or LATENCY_MS_DEFAULT
    if latency < LATENCY_MS_LEAST:
        known = f"{LATENCY_MS_LEAST} to 5000"
        raise SettingUnsupported("latency_ms", f"{latency}", by.name, known)
    return max(_EVERY_SECONDS_LEAST, (latency - _LISTENING_MS) / 1000.0)


def response(
    heard: Heard, rate_hz: int, revision: int, received: int
) -> live_pb2.StreamAnalysisResponse:
    """One answer about a stretch."""
    start, end = round(heard.start_seconds * rate_hz), round(heard.end_seconds * rate_hz)
    message = live_pb2.StreamAnalysisResponse(
        span=audio_pb2.FrameSpan(start_frame=start, frame_count=max(0, min(end, received) - start)),
        revision=revision,
        is_final=heard.is_decided,
        stability=heard.stability,
        bpm=heard.bpm,
        momentary_lufs=0.0 if heard.momentary_lufs is None else heard.momentary_lufs,
        lag_frames=max(0, received - end),
    )
    for beat in heard.beats:
        message.beats.add(
            frame=round(beat.seconds * rate_hz),
            seconds=beat.seconds,
            strength=beat.strength,
            confidence=beat.confidence,
        )
    for chord in heard.chords:
        told = chord_message(chord, False)
        told.start_frame = round(chord.start_seconds * rate_hz)
        told.frame_count = round(chord.end_seconds * rate_hz) - told.start_frame
        message.chords.append(told)
    if heard.key.key:
        message.key.CopyFrom(
            harmony_pb2.KeyCandidate(key=heard.key.key, probability=heard.key.confidence)
        )
    return message


def last_response(
    whole: Whole,
    asked: Wanted,
    revision: int,
    frame_count: int,
    made_by: engine_pb2.Provenance,
) -> live_pb2.StreamAnalysisResponse:
    """The answer about all of it."""
    rate_hz = asked.sample_rate_hz
    stream = Source(
        audio="", key="", encoding=Encoding.F32LE, sample_rate_hz=rate_hz,
        channel_count=asked.channel_count, start_frame=0, frame_count=frame_count,
        store=Store("", "", "", ""),
    )  # fmt: skip
    span = audio_pb2.FrameSpan(start_frame=0, frame_count=frame_count)
    line = timeline_pb2.Timeline(span=span, sample_rate_hz=rate_hz)
    message = live_pb2.StreamAnalysisResponse(
        span=span, revision=revision, is_final=True, stability=1.0, provenance=made_by
    )
    if whole.rhythm is not None:
        line.beats.CopyFrom(beat_track(stream, whole.rhythm))
        message.bpm = whole.rhythm.bpm
    if whole.chords is not None:
        harmony = Harmony(whole.chords, asked.chords.vocabulary)
        line.chords.CopyFrom(chord_track(stream, harmony, asked.chords))
    if whole.key is not None:
        line.key.CopyFrom(key_track(stream, whole.key))
        if whole.key.key:
            message.key.key, message.key.probability = whole.key.key, whole.key.confidence
    if whole.loudness is not None:
        line.dynamics.CopyFrom(dynamics(stream, whole.loudness))
        message.momentary_lufs = (whole.loudness.momentary_lufs or (QUIETEST_LUFS,))[-1]
    for name in FEATURES:
        if name in asked.features:
            line.provenance[name].CopyFrom(made_by)
    message.timeline.CopyFrom(line)
    return message
