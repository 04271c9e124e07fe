"""Form between messages and values."""

from chorale.analysis.v1 import structure_pb2
from chorale.audio.v1 import audio_pb2
from chorale_audio.source import Source

from chorale_analysis.engines import Engine
from chorale_analysis.messages.engines import SettingUnsupported, stretch
from chorale_analysis.structure import Form, StructureSettings


def structure_settings(message: structure_pb2.SegmentSettings, by: Engine) -> StructureSettings:
    """Settings with defaults filled in; raises `SettingUnsupported`."""
    if message.window_seconds:
        raise SettingUnsupported("window_seconds", f"{message.window_seconds:g}", by.name, "0")
    usual = StructureSettings()
    return StructureSettings(
        minimum_seconds=message.minimum_seconds or usual.minimum_seconds,
        section_limit=message.section_limit,
        on_downbeats=message.on_downbeats,
    )


def structure(source: Source, value: Form) -> structure_pb2.Structure:
    """The sections of a source."""
    message = structure_pb2.Structure(sample_rate_hz=source.sample_rate_hz)
    offset = source.start_frame / source.sample_rate_hz
    for section in value.sections:
        label = f"SECTION_LABEL_{section.label.upper() or 'UNSPECIFIED'}"
        message.sections.add(
            span=stretch(source, section.start_seconds, section.end_seconds),
            start_seconds=offset + section.start_seconds,
            end_seconds=offset + section.end_seconds,
            label=audio_pb2.SectionLabel.Value(label),
            confidence=section.confidence,
            group=section.group,
            boundary_confidence=section.boundary_confidence,
        )
    return message
