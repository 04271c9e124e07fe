"""What is asked and told of keys; `key` finds them."""

from dataclasses import dataclass

MINIMUM_SECONDS = 1.0  # a chord or two

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)


@dataclass(frozen=True)
class KeySettings:
    """How to look for keys."""

    modulations: bool = False
    minimum_seconds: float = 8.0  # the shortest stretch that may have a key of its own


@dataclass(frozen=True)
class Candidate:
    """A key that would explain the notes."""

    key: str
    probability: float
    relation: str  # to the key chosen: relative, parallel, dominant, subdominant or empty


@dataclass(frozen=True)
class Region:
    """A stretch in one key."""

    start_seconds: float
    end_seconds: float
    key: str
    confidence: float


@dataclass(frozen=True)
class Tonality:
    """The key of the whole and of its parts. An empty key and no confidence: none was heard."""

    key: str
    confidence: float
    candidates: tuple[Candidate, ...]
    regions: tuple[Region, ...]
    tuning_cents: float


def relation(of: int, to: int) -> str:
    """What one key is to another, both by their place in `KEYS`."""
    up, is_minor, to_minor = (of - to) % 12, of >= 12, to >= 12
    if is_minor == to_minor:
        return {7: "dominant", 5: "subdominant"}.get(up, "")
    relative = 3 if to_minor else 9  # C major has A minor; A minor has C major
    return {0: "parallel", relative: "relative"}.get(up, "")
