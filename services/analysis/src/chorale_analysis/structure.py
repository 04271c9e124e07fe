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


# Of bands over time: noise and drones vary by .03 decades, chords of plain tones by .09, music by
# .2. Where a snippet lies, the same recording reaches .88 with noise added, another song .39.
LEAST_VARIETY, LEAST_LIKENESS = 0.06, 0.5


class NotDistinctive(Exception):
    """Nothing in the snippet to know it by."""

    def __init__(self, variety: float, variety_needed: float) -> None:
        super().__init__(variety, variety_needed)
        self.variety, self.variety_needed = variety, variety_needed

    def __str__(self) -> str:
        return (
            f"The snippet's spectrum varies by {self.variety:.3f} decades over time;"
            f" {self.variety_needed:g} are needed. Silence, noise and drones are alike everywhere."
        )


@dataclass(frozen=True)
class Place:
    """Where a snippet begins in its song, and how like it sounds there, in [-1, 1]."""

    start_seconds: float
    likeness: float

    @property
    def is_sure(self) -> bool:
        """Whether it is from there at all."""
        return self.likeness >= LEAST_LIKENESS
