"""Every kind of listening: its RPC, its messages, what it needs and what it costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chorale.analysis.v1 import (
    beats_pb2,
    chords_pb2,
    dynamics_pb2,
    harmony_pb2,
    structure_pb2,
)
from chorale_audio.source import Source
from google.protobuf.message import Message

from chorale_analysis import dynamics, engines, harmony, messages, rhythm, structure, tonality
from chorale_analysis.engines import Engine
from chorale_analysis.wishes import Settings

SERVICE = "chorale.analysis.v1.AnalysisService"


@dataclass(frozen=True)
class Kind:
    """One thing to listen for."""

    capability: str
    method: str
    request: type[Message]
    response: type[Message]
    field: str  # of the response, and of `Timeline`
    least_seconds: float  # of audio that it takes
    price: float  # CPU seconds per second of audio, measured here on one core
    settings: Callable[[Any, Engine], Settings]
    told: Callable[[Source, Any, Any], Message]  # source, finding, settings

    def wished(self, request: Any, engine: Engine) -> Settings:
        """The settings of a request of this kind, or of one for several kinds."""
        fields = request.DESCRIPTOR.fields_by_name
        if self.field in fields:
            return self.settings(getattr(request, self.field), engine)
        if "settings" in fields:
            return self.settings(request.settings, engine)
        is_own = isinstance(request, self.request)
        return self.settings(request if is_own else self.request(), engine)


KINDS = {
    kind.capability: kind
    for kind in (
        Kind(
            engines.BEATS,
            f"{SERVICE}/TrackBeats",
            beats_pb2.TrackBeatsRequest,
            beats_pb2.TrackBeatsResponse,
            "beats",
            rhythm.MINIMUM_SECONDS,
            0.005,
            messages.rhythm_settings,
            lambda source, found, _: messages.beat_track(source, found),
        ),
        Kind(
            engines.KEY,
            f"{SERVICE}/DetectKey",
            harmony_pb2.DetectKeyRequest,
            harmony_pb2.DetectKeyResponse,
            "key",
            tonality.MINIMUM_SECONDS,
            0.002,
            lambda message, _: messages.key_settings(message),
            lambda source, found, _: messages.key_track(source, found),
        ),
        Kind(
            engines.CHORDS,
            f"{SERVICE}/RecognizeChords",
            chords_pb2.RecognizeChordsRequest,
            chords_pb2.RecognizeChordsResponse,
            "chords",
            harmony.MINIMUM_SECONDS,
            0.01,
            messages.chord_settings,
            messages.chord_track,
        ),
        Kind(
            engines.STRUCTURE,
            f"{SERVICE}/Segment",
            structure_pb2.SegmentRequest,
            structure_pb2.SegmentResponse,
            "structure",
            structure.MINIMUM_SECONDS,
            0.012,
            messages.structure_settings,
            lambda source, found, _: messages.structure(source, found),
        ),
        Kind(
            engines.DYNAMICS,
            f"{SERVICE}/MeasureDynamics",
            dynamics_pb2.MeasureDynamicsRequest,
            dynamics_pb2.MeasureDynamicsResponse,
            "dynamics",
            dynamics.MINIMUM_SECONDS,
            0.006,
            lambda message, _: messages.dynamics_settings(message),
            lambda source, found, _: messages.dynamics(source, found),
        ),
    )
}
