"""What is asked and told of a rhythm; `beats` finds it."""

from dataclasses import dataclass

MINIMUM_SECONDS = 2.0  # two beats at the slowest tempo one can still tap


@dataclass(frozen=True)
class RhythmSettings:
    """What is known of a rhythm, and how to decide the rest."""

    bpm_min: float = 55.0
    bpm_max: float = 215.0
    bpm_hint: float = 0.0  # 0: none
    from_peaks: bool = False  # take peaks of the activation instead of decoding the state space
    transition_lambda: float = 100.0
    threshold: float = 0.2


@dataclass(frozen=True)
class Beat:
    """One beat."""

    seconds: float
    strength: float  # against the strongest, in [0, 1]
    confidence: float  # in [0, 1]


@dataclass(frozen=True)
class Tempo:
    """A tempo that would explain the beats, and how likely it is."""

    bpm: float
    probability: float


@dataclass(frozen=True)
class Rhythm:
    """Beats and tempo. No beats, a tempo of 0 and no confidence: none was heard."""

    beats: tuple[Beat, ...]
    bpm: float
    bpm_confidence: float
    stability: float  # in [0, 1]
    candidates: tuple[Tempo, ...]
    curve_bpm: tuple[float, ...]  # one for each beat


NO_RHYTHM = Rhythm((), 0.0, 0.0, 0.0, (), ())
