"""Between proto messages and the values that music knows."""

from chorale_analysis.messages.dynamics import dynamics, dynamics_settings
from chorale_analysis.messages.engines import (
    SettingUnsupported,
    engine,
    estimate,
    provenance,
    span,
    stretch,
    told,
)
from chorale_analysis.messages.harmony import (
    chord,
    chord_message,
    chord_settings,
    chord_track,
    editing,
    key_settings,
    key_track,
    statistics,
)
from chorale_analysis.messages.rhythm import beat_track, rhythm_settings
from chorale_analysis.messages.structure import structure, structure_settings

__all__ = [
    "SettingUnsupported",
    "beat_track",
    "chord",
    "chord_message",
    "chord_settings",
    "chord_track",
    "dynamics",
    "dynamics_settings",
    "editing",
    "engine",
    "estimate",
    "key_settings",
    "key_track",
    "provenance",
    "rhythm_settings",
    "span",
    "statistics",
    "stretch",
    "structure",
    "structure_settings",
    "told",
]
