"""What is asked and told of sound while it plays."""

from dataclasses import dataclass

from chorale_analysis.dynamics import Dynamics
from chorale_analysis.harmony import Chord, ChordSettings
from chorale_analysis.rhythm import Beat, Rhythm, RhythmSettings
from chorale_analysis.tonality import Tonality

BEATS, CHORDS, KEY, DYNAMICS = "beats", "chords", "key", "dynamics"


@dataclass(frozen=True)
class Wanted:
    """What to listen for, and how."""

    sample_rate_hz: int
    channel_count: int
    features: frozenset[str]
    rhythm: RhythmSettings
    chords: ChordSettings


@dataclass(frozen=True)
class Heard:
    """What is told of a stretch of sound."""

    start_seconds: float
    end_seconds: float
    is_decided: bool
    beats: tuple[Beat, ...]
    bpm: float
    chords: tuple[Chord, ...]
    key: Tonality
    momentary_lufs: float | None
    stability: float  # in [0, 1]: the share of what was told early that was then decided so


@dataclass(frozen=True)
class Whole:
    """What was heard from beginning to end; None is what was not asked for."""

    duration_seconds: float
    rhythm: Rhythm | None
    chords: tuple[Chord, ...] | None
    key: Tonality | None
    loudness: Dynamics | None
