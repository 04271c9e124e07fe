"""What each number of a pattern means. A layout never changes: a change is another version.

All numbers are scaled to [0.0, 1.0] or [-1.0, 1.0], so that no unit outweighs another; how
much a number counts is its weight alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

# What `chorale.audio.v1.Instrument` calls them.
DRUMS, BASS, CHORDS, MELODY = 1, 2, 3, 4
_NAMES = {DRUMS: "drums", BASS: "bass", CHORDS: "chords", MELODY: "melody"}
_TELLING = 6  # dimensions of an explanation that agree, and as many that do not


@dataclass(frozen=True)
class Dimension:
    """One number."""

    name: str
    description: str
    weight: float
    typical: float = 0.0
    """What is taken away before it is compared."""


@dataclass(frozen=True)
class Agreement:
    """How much one dimension adds to a likeness."""

    dimension: Dimension
    query_value: float
    found_value: float
    contribution: float

    @property
    def difference(self) -> float:
        """How far the two are apart here."""
        return abs(self.query_value - self.found_value) * self.dimension.weight


class VectorInvalid(Exception):
    """The numbers are not what their layout asks for."""

    def __init__(self, layout: str, found: str, needed: str) -> None:
        super().__init__(layout, found, needed)
        self.layout, self.found, self.needed = layout, found, needed

    def __str__(self) -> str:
        return f"The vector for {self.layout} has {self.found}; needed are {self.needed}."


class LayoutUnknown(Exception):
    """No layout has this name, or it is not of this instrument."""

    def __init__(self, layout: str, known: str) -> None:
        super().__init__(layout, known)
        self.layout, self.known = layout, known

    def __str__(self) -> str:
        return f"There is no layout {self.layout!r} here; these fit: {self.known}."


@dataclass(frozen=True)
class Layout:
    """The dimensions of one instrument's patterns, in order."""

    instrument: int
    version: int
    dimensions: tuple[Dimension, ...]
    made_from: tuple[str, ...] = ()
    """Older layouts of the same numbers: what was indexed in them can be indexed in this one."""

    @property
    def name(self) -> str:
        """`layouts/{instrument}/{version}`."""
        return f"layouts/{_NAMES[self.instrument]}/{self.version}"

    @cached_property
    def weights(self) -> Vector:
        """How much each dimension counts."""
        return np.array([each.weight for each in self.dimensions], np.float32)

    @cached_property
    def typical(self) -> Vector:
        """What is taken away from each dimension."""
        return np.array([each.typical for each in self.dimensions], np.float32)

    def unit(self, values: Sequence[float]) -> Vector:
        """The direction of a pattern: the likeness of two is the product of their directions."""
        given = np.asarray(values, np.float32)
        needed = f"{len(self.dimensions)} finite numbers, not all zero"
        if len(given) != len(self.dimensions):
            raise VectorInvalid(self.name, str(len(given)), needed)
        weighed = (given - self.typical) * np.sqrt(self.weights)
        length = float(np.linalg.norm(weighed))
        if not np.isfinite(length) or length == 0.0 or not given.any():
            found = "zeros only" if np.isfinite(length) else "a number that is not finite"
            raise VectorInvalid(self.name, found, needed)
        direction: Vector = weighed / length
        return direction

    def agreements(self, query: Sequence[float], found: Sequence[float]) -> list[Agreement]:
        """What every dimension adds to the likeness, what matters most first."""
        one, other = self.unit(query), self.unit(found)
        told = zip(self.dimensions, query, found, one * other, strict=True)
        rows = [Agreement(each, float(q), float(f), float(adds)) for each, q, f, adds in told]
        matters = np.maximum(np.abs(one * other), np.abs(one - other))
        return [rows[index] for index in np.argsort(-matters, kind="stable")]

    def explanation(self, query: Sequence[float], found: Sequence[float]) -> list[Agreement]:
        """The dimensions that agree most, then those that differ most."""
        rows = self.agreements(query, found)
        agreeing = sorted(rows, key=lambda row: -row.contribution)[:_TELLING]
        differing = sorted(rows, key=lambda row: -row.difference)[:_TELLING]
        told = [row for row in agreeing if row.contribution > 0]
        return told + [row for row in differing if row.difference > 0 and row not in told]


def _grid(voice: str, steps: int, weight: float) -> list[Dimension]:
    told = f"How strongly {voice} sounds in step {{}} of {steps} of the pattern, in [0, 1]."
    return [Dimension(f"{voice}[{i}]", told.format(i), weight) for i in range(steps)]


def _drums() -> tuple[Dimension, ...]:
    """60: densities, syncopation, grids of one bar, tempo, dynamics and groove."""
    voices = ("kick", "snare", "hihat")
    return (
        *(
            Dimension(f"{voice}_density", f"Share of the 16 steps in which {voice} sounds.", 1.0)
            for voice in voices
        ),
        Dimension("syncopation", "Share of strokes on weak steps with the next strong empty.", 1.0),
        *(each for voice in voices for each in _grid(voice, 16, 0.5)),
        Dimension("tempo", "Beats per minute / 200, at most 1.", 0.5),
        Dimension("velocity_variance", "Standard deviation of velocities / 64, at most 1.", 0.5),
        *(
            Dimension(
                f"groove[{i}]",
                f"Mean lateness of strokes in sixth {i} of the bar, in steps, in [-0.5, 0.5].",
                0.5,
            )
            for i in range(6)
        ),
    )


# What each kind of number of the drum vector is in the bars of eight scores, on average.
_TYPICAL_DRUMS = {
    "kick_density": 0.22,
    "snare_density": 0.11,
    "hihat_density": 0.52,
    "syncopation": 0.26,
    "kick": 0.22,
    "snare": 0.11,
    "hihat": 0.52,
    "tempo": 0.70,
    "groove": 0.01,
}


def _drums_less_typical() -> tuple[Dimension, ...]:
    """The 60 of before, of each what is typical taken away.

    Without that any two bars are alike, because all numbers are positive: in the scores of the test
    material bars of different pieces by 0.52 on average, and with it by 0.13.
    """
    found = []
    for each in _drums():
        typical = _TYPICAL_DRUMS.get(each.name.partition("[")[0], 0.0)
        told = f"{each.description} Compared less {typical:.2f}, which is typical."
        found.append(replace(each, description=told, typical=typical))
    return tuple(found)


def _line(voice: str) -> list[Dimension]:
    """What bass and melody have in common: 49 numbers of one line over 32 steps."""
    intervals = ("repeat", "step", "third_or_fourth", "fifth_to_seventh", "octave_and_more")
    return [
        Dimension("density", "Share of the 32 steps in which a note begins.", 1.0),
        Dimension("syncopation", "Share of notes on weak steps with the next strong empty.", 1.0),
        *_grid(voice, 32, 0.5),
        *(
            Dimension(
                f"contour[{i}]",
                f"Mean pitch of eighth {i} of the pattern over that of all, octaves, in [-1, 1].",
                1.0,
            )
            for i in range(8)
        ),
        Dimension("range", "Highest less lowest pitch, octaves / 4, at most 1.", 1.0),
        Dimension("tempo", "Beats per minute / 200, at most 1.", 0.5),
        *(
            Dimension(f"interval_{each}", "Share of steps from note to note.", 1.0)
            for each in intervals
        ),
    ]


def _bass() -> tuple[Dimension, ...]:
    """50: the line, and how long its notes are held."""
    return (*_line("bass"), Dimension("legato", "Share of the time in which a note sounds.", 0.5))


def _chords() -> tuple[Dimension, ...]:
    """40: change rate, progression of up to eight chords, harmonic rhythm, colour."""
    return (
        Dimension("change_rate", "Chord changes per beat, at most 1.", 1.0),
        *(
            Dimension(f"{what}[{i}]", told.format(i), 1.0)
            for i in range(8)
            for what, told in (
                ("fifths_cos", "Root of chord {} against the first, cosine on the fifths' circle."),
                ("fifths_sin", "Root of chord {} against the first, sine on the fifths' circle."),
                ("mode", "Chord {}: 1 major, -1 minor, 0 neither, or none."),
            )
        ),
        *_grid("change", 8, 0.5),
        Dimension("tempo", "Beats per minute / 200, at most 1.", 0.5),
        Dimension("variety", "Different chords / 8, at most 1.", 1.0),
        Dimension("sevenths", "Share of chords with a seventh.", 1.0),
        *(
            Dimension(each, f"Share of chords that are {each}.", 1.0)
            for each in ("major", "minor", "diminished_or_augmented", "suspended")
        ),
    )


def _melody() -> tuple[Dimension, ...]:
    """61: the line, and which steps of the scale it uses."""
    return (
        *_line("melody"),
        *(
            Dimension(f"pitch_class[{i}]", f"Share of time {i} semitones over the tonic.", 1.0)
            for i in range(12)
        ),
    )


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(DRUMS, 2, _drums_less_typical(), made_from=("layouts/drums/1",)),
        Layout(DRUMS, 1, _drums()),
        Layout(BASS, 1, _bass()),
        Layout(CHORDS, 1, _chords()),
        Layout(MELODY, 1, _melody()),
    )
}
"""Every layout, newest first within each instrument. The oldest serves until patterns have been
indexed anew in a newer one."""


def layout_of(name: str, instrument: int = 0) -> Layout:
    """The layout of this name, which must be of this instrument if one is said."""
    layout = LAYOUTS.get(name)
    if layout is None or instrument not in (0, layout.instrument):
        fitting = [one.name for one in LAYOUTS.values() if instrument in (0, one.instrument)]
        raise LayoutUnknown(name, ", ".join(fitting))
    return layout
