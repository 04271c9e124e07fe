"""What is asked and told of a rhythm; `beats` finds it."""

import itertools
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
    beats_per_bar: tuple[int, ...] = ()  # bar lengths to think of; empty: the engine's own
    local_meter: bool = False  # whether bars may change their length on the way


@dataclass(frozen=True)
class Beat:
    """One beat."""

    seconds: float
    strength: float  # against the strongest, in [0, 1]
    confidence: float  # in [0, 1]
    position: int = 0  # in the bar, counted from 1; 0 when not known


@dataclass(frozen=True)
class Meter:
    """A bar length that would explain the beats, how likely it is, and where bars would begin."""

    beats_per_bar: int
    probability: float
    downbeat_seconds: tuple[float, ...] = ()
    is_compound: bool = False  # whether beats are dotted: three eighths each

    @property
    def time_signature(self) -> str:
        """As it is written: 2 dotted beats are 6/8, 3 plain ones 3/4."""
        return f"{self.beats_per_bar * 3}/8" if self.is_compound else f"{self.beats_per_bar}/4"


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
    meters: tuple[Meter, ...] = ()  # the chosen one first; empty when not known


NO_RHYTHM = Rhythm((), 0.0, 0.0, 0.0, (), ())


@dataclass(frozen=True)
class Bar:
    """One bar; number 0 is a pickup."""

    number: int
    start_seconds: float
    end_seconds: float
    beat_count: int
    bpm: float


def bars(rhythm: Rhythm, duration_seconds: float) -> list[Bar]:
    """The bars of a rhythm whose beats know their place; the last ends with its last beat."""
    beats = rhythm.beats
    starts = [place for place, beat in enumerate(beats) if beat.position == 1]
    if not starts:
        return []
    period = 60.0 / rhythm.bpm
    after = min(beats[-1].seconds + period, duration_seconds)
    times = [*(beat.seconds for beat in beats), after]
    firsts = starts if starts[0] == 0 else [0, *starts]
    number = 1 if starts[0] == 0 else 0
    found = []
    for first, last in itertools.pairwise([*firsts, len(beats)]):
        seconds = times[last] - times[first]
        bpm = 60.0 * (last - first) / seconds if seconds > 0.0 else rhythm.bpm
        found.append(Bar(number, times[first], times[last], last - first, bpm))
        number += 1
    return found
