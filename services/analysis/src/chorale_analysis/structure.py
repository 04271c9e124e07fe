"""What is asked and told of form; `segmentation` finds it."""

from dataclasses import dataclass

MINIMUM_SECONDS = 8.0  # two sections of the shortest usual length

INTRO, VERSE, PRECHORUS, CHORUS = "intro", "verse", "prechorus", "chorus"
BRIDGE, INSTRUMENTAL, OUTRO, SILENCE, UNKNOWN = "bridge", "inst", "outro", "silence", ""


@dataclass(frozen=True)
class StructureSettings:
    """How to cut music into sections."""

    minimum_seconds: float = 4.0
    section_limit: int = 0  # 0: as many as there are
    on_downbeats: bool = False


@dataclass(frozen=True)
class Section:
    """One section."""

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float  # of the label, in [0, 1]
    group: int  # sections of one number repeat each other; counted from 1
    boundary_confidence: float  # of its start, in [0, 1]


@dataclass(frozen=True)
class Form:
    """All sections in order, without gaps."""

    sections: tuple[Section, ...]
