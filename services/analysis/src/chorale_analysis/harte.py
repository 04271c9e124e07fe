"""Chord labels in Harte's syntax: what they mean, and how their notes are spelt.

Harte, Sandler, Abdallah and Gomez, "Symbolic Representation of Musical Chords", ISMIR 2005.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

NONE, UNNAMED = "N", "X"

# Semitones over the root. The order is that in which a set of notes is named when it fits several.
QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "minmaj7": (0, 3, 7, 11),
    "aug7": (0, 4, 8, 10),
    "sus4(b7)": (0, 5, 7, 10),
    "9": (0, 2, 4, 7, 10),
    "maj9": (0, 2, 4, 7, 11),
    "min9": (0, 2, 3, 7, 10),
    "maj(9)": (0, 2, 4, 7),
    "min(9)": (0, 2, 3, 7),
    "7(b9)": (0, 1, 4, 7, 10),
    "7(#9)": (0, 3, 4, 7, 10),
    "11": (0, 2, 4, 5, 7, 10),
    "min11": (0, 2, 3, 5, 7, 10),
    "13": (0, 2, 4, 7, 9, 10),
    "maj13": (0, 2, 4, 7, 9, 11),
    "min13": (0, 2, 3, 7, 9, 10),
    "5": (0, 7),
    "1": (0,),
}

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_DEGREES = (0, 0, 2, 4, 5, 7, 9, 11)  # semitones of the degrees 1 to 7 of a major scale
_SHAPE = re.compile(r"^([A-G])([#b]{0,2})(?::([^/]+))?(?:/([#b]*)(\d{1,2}))?$")
_FLATS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# Major keys by tonic whose signature has flats; minor keys are written as their relatives.
_FLAT_TONICS = {1, 3, 5, 8, 10}


class LabelUnreadable(Exception):
    """A chord label is not in Harte's syntax."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label

    def __str__(self) -> str:
        return f"{self.label!r} is no chord label: C:maj7/3, F#:min, N and X are."


@dataclass(frozen=True)
class Label:
    """A chord: a root, what is built on it, and what is lowest."""

    root: int  # pitch class; -1 for `N` and `X`
    quality: str  # a name of `QUALITIES` or other shorthand, `N` or `X`
    spelling: str = ""  # of the root
    bass: int = 0  # semitones over the root

    @property
    def is_chord(self) -> bool:
        """Whether there is a root."""
        return self.root >= 0

    @property
    def intervals(self) -> tuple[int, ...]:
        """Semitones over the root; those of the triad where the quality is not in the table."""
        known = QUALITIES.get(self.quality)
        if known is None:
            known = QUALITIES["min" if self.quality.startswith(("min", "m")) else "maj"]
        return known if self.is_chord else ()

    @property
    def classes(self) -> frozenset[int]:
        """The pitch classes that sound."""
        return frozenset((self.root + step) % 12 for step in {*self.intervals, self.bass})

    def __str__(self) -> str:
        if not self.is_chord:
            return self.quality
        over = f"/{degree(self.bass)}" if self.bass else ""
        return f"{self.spelling}:{self.quality}{over}"


@lru_cache(4096)
def parse(text: str) -> Label:
    """Reads a label; raises `LabelUnreadable`."""
    if text in (NONE, UNNAMED):
        return Label(-1, text)
    shape = _SHAPE.match(text)
    if shape is None:
        raise LabelUnreadable(text)
    letter, accidentals, quality, altered, number = shape.groups()
    bass = 0
    if number is not None:
        steps = _DEGREES[(int(number) - 1) % 7 + 1]
        bass = (steps + altered.count("#") - altered.count("b")) % 12
    return Label(pitch_class(letter + accidentals), quality or "maj", letter + accidentals, bass)


def pitch_class(name: str) -> int:
    """The pitch class of a note's name."""
    return (_LETTERS[name[0]] + name.count("#") - name.count("b")) % 12


def is_note(name: str) -> bool:
    """Whether this is a note's name, such as `F#` or `Bb`."""
    return re.fullmatch("[A-G](#|b){0,2}", name) is not None


def degree(semitones: int) -> str:
    """An interval as Harte's degree: 3 is `b3`, 10 is `b7`."""
    names = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")
    return names[semitones % 12]


def note(pitch: int, key: str = "") -> str:
    """A pitch class as it is written in a key such as `Eb major`; sharps where there is none."""
    return (_FLATS if _is_flat(key) else _SHARPS)[pitch % 12] if key else _usual(pitch)


def spelt(label: Label, key: str) -> Label:
    """The same chord as it is written in this key."""
    return replace(label, spelling=note(label.root, key)) if label.is_chord else label


def named(root: int, quality: str, bass: int = 0) -> Label:
    """A chord with the usual spelling of its root."""
    return Label(root % 12, quality, _usual(root), bass)


def distance(one: Label, other: Label) -> float:
    """How unlike two chords sound, in [0, 1]: the share of notes that only one of them has."""
    union = one.classes | other.classes
    return 1.0 - len(one.classes & other.classes) / len(union) if union else 0.0


def display(label: Label) -> str:
    """A chord as people write it: `C♯m7/G♯`."""
    if not label.is_chord:
        return "N.C." if label.quality == NONE else "?"
    signs = {"maj": "", "min": "m", "min7": "m7", "hdim7": "m7♭5", "dim": "°", "dim7": "°7"}
    more = {"aug": "+", "minmaj7": "mM7", "maj6": "6", "min6": "m6", "sus4(b7)": "7sus4"}
    quality = (signs | more).get(label.quality, label.quality.replace("min", "m"))
    bass = f"/{note(label.root + label.bass, _key_of(label))}" if label.bass else ""
    return f"{label.spelling}{quality}{bass}".replace("#", "♯").replace("b", "♭")


def _usual(pitch: int) -> str:
    return ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")[pitch % 12]


def _key_of(label: Label) -> str:
    """A key in which the root is spelt as it is."""
    return "F major" if "b" in label.spelling or label.root == 5 else "G major"


def _is_flat(key: str) -> bool:
    tonic, _, mode = key.partition(" ")
    if "b" in tonic:
        return True
    if "#" in tonic:
        return False
    major = (pitch_class(tonic) + (3 if mode == "minor" else 0)) % 12
    return major in _FLAT_TONICS
