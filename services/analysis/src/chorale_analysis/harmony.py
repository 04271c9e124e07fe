"""What is asked and told of chords; `chords` finds them."""

from dataclasses import dataclass

MINIMUM_SECONDS = 0.5  # shorter than any chord that stands alone

_TRIADS = ("maj", "min")
_FIVE = (*_TRIADS, "aug", "dim", "sus4")
_SEVENTHS = ("7", "maj7", "min7", "maj6", "min6", "dim7", "hdim7", "minmaj7")
_LARGE = (*_TRIADS, "dim", "aug", "sus4", "sus2", *_SEVENTHS)
_MORE = ("9", "maj9", "min9", "sus4(b7)")
_OVER = (("maj", 4), ("maj", 7), ("min", 3), ("min", 7), ("7", 4), ("7", 7), ("7", 10))

# Names as the contract has them: qualities, and what may lie in the bass.
VOCABULARIES: dict[str, tuple[tuple[str, int], ...]] = {
    "large_voca": tuple((quality, 0) for quality in _LARGE),
    "majmin": tuple((quality, 0) for quality in _TRIADS),
    "5-types": tuple((quality, 0) for quality in _FIVE),
    "extended": (*((quality, 0) for quality in (*_LARGE, *_MORE)), *_OVER),
}
VOCABULARY_DEFAULT = "large_voca"


@dataclass(frozen=True)
class Editing:
    """What to do with chords once they are heard, in this order."""

    simplify: bool = False
    merge_seconds: float = 0.01
    shortest_seconds: float = 0.1
    transpose_semitones: int = 0
    target_key: str = ""  # goes before `transpose_semitones`
    capo_fret: int = 0
    beat_synchronous: bool = False
    display: bool = False


@dataclass(frozen=True)
class ChordSettings:
    """What chords to hear, and what to make of them."""

    vocabulary: str = VOCABULARY_DEFAULT
    alternative_count: int = 3
    editing: Editing = Editing()


@dataclass(frozen=True)
class Alternative:
    """Another label for a chord."""

    label: str
    probability: float
    distance: float  # how unlike the label chosen it sounds, in [0, 1]


@dataclass(frozen=True)
class Chord:
    """One chord."""

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float = 0.0  # in [0, 1]
    alternatives: tuple[Alternative, ...] = ()
    bass: str = ""  # the lowest note; empty when not known
    numeral: str = ""
    beat_index: int = -1

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True)
class CapoAdvice:
    """How easily chords are fingered with a capo at a fret."""

    fret: int
    key: str
    open_share: float  # of the time with chords, in [0, 1]


@dataclass(frozen=True)
class Statistics:
    """Figures over many chords."""

    chord_count: int
    distinct_count: int
    complexity: float  # in [0, 10]
    chords_per_minute: float
    label_seconds: dict[str, float]
    capos: tuple[CapoAdvice, ...]


@dataclass(frozen=True)
class Correction:
    """A chord that was spelt anew."""

    index: int
    original: str
    corrected: str


@dataclass(frozen=True)
class Harmony:
    """All chords in order, without gaps, and the key that they stand in (empty: none)."""

    chords: tuple[Chord, ...]
    vocabulary: str
    key: str = ""
    statistics: Statistics | None = None


class ChordsUnparsable(Exception):
    """A line of LAB text is no chord, or one of the chords given is none."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(line, text)
        self.line, self.text = line, text

    def __str__(self) -> str:
        return (
            f"Line {self.line} is {self.text!r}; `start end label` is needed, as `0.0 1.5 C:maj`."
        )
