"""Engines, provenance, estimates and settings as messages tell them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale_audio.source import Source, Span

from chorale_analysis.engines import Engine
from chorale_analysis.harmony import Editing
from chorale_analysis.wishes import Settings


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


def told(settings: Settings | Editing) -> dict[str, str]:
    """Every setting as it is in force; those within another by `outer.inner`."""
    return dict(_flat(asdict(settings)))


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{name}.")
        elif isinstance(value, (tuple, list, str)):
            found.append((before + name, value if isinstance(value, str) else _listed(value)))
        else:
            found.append((before + name, f"{value:g}"))
    return found


def _listed(values: tuple[Any, ...] | list[Any]) -> str:
    return ",".join(f"{value:g}" for value in values)


def engine(value: Engine) -> engine_pb2.Engine:
    """An engine as `ListEngines` tells it."""
    message = engine_pb2.Engine(
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
        weights=_weights(value),
        description=value.description,
        vocabularies=value.vocabularies,
    )
    if value.limit_seconds:
        message.limit_duration.FromSeconds(round(value.limit_seconds))
    return message


def _weights(value: Engine) -> list[engine_pb2.Weights]:
    """The weights of an engine: every file that is there by its digest."""
    named = [(f"{value.name}/{file}", digest) for file, digest in value.digests]
    named = named or ([(value.weights, "")] if value.weights else [])
    return [
        engine_pb2.Weights(name=name, sha256=digest, licence=value.weights_licence)
        for name, digest in named
    ]


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
    message.weights.extend(_weights(used))
    message.processing_time.FromMilliseconds(round(seconds * 1000))
    return message


def estimate(by: str, seconds: float, cached: bool) -> audio_pb2.Estimate:
    """What the work would take."""
    return audio_pb2.Estimate(
        engine=by, device="cpu", seconds=0.0 if cached else seconds, cached=cached
    )


def heard_span(source: Source) -> audio_pb2.FrameSpan:
    """What was listened to."""
    return audio_pb2.FrameSpan(start_frame=source.start_frame, frame_count=source.frame_count)


def stretch(source: Source, start_seconds: float, end_seconds: float) -> audio_pb2.FrameSpan:
    """Seconds from where listening began as frames of the audio, none past the end."""
    first = frame(source, start_seconds)
    last = frame(source, end_seconds)
    return audio_pb2.FrameSpan(start_frame=first, frame_count=last - first)


def frame(source: Source, seconds: float) -> int:
    """The frame of the audio that is so far from where listening began."""
    heard = min(max(round(seconds * source.sample_rate_hz), 0), source.frame_count)
    return source.start_frame + heard
