"""Chords edited as ordered, one step after the other, and what is to be said against it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from chorale_analysis import chord_editing, harte, roman
from chorale_analysis.harmony import Chord, ChordsUnparsable, Correction, Editing
from chorale_analysis.key import chances_of
from chorale_analysis.tonality import KEYS

_FAR_SEMITONES = 6
_OVERLAP_SECONDS = 1e-3  # less is rounding


@dataclass(frozen=True)
class Edited:
    """Chords as ordered, the key they now stand in, and what was noticed."""

    chords: tuple[Chord, ...]
    key: str
    warnings: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()


def edited(
    chords: Sequence[Chord], editing: Editing, key: str, beat_seconds: Sequence[float] = ()
) -> Edited:
    """Applies every step in its order; numerals are told against the key that results."""
    found, corrections = chord_editing.spelt(chords, key) if key else (list(chords), [])
    if editing.simplify:
        found = chord_editing.simplified(found)
    found = chord_editing.merged(found, editing.merge_seconds)
    if editing.shortest_seconds > 0.0:
        found = chord_editing.without_short(found, editing.shortest_seconds)
        found = chord_editing.merged(found, editing.merge_seconds)
    found, key, warnings = _moved(found, editing, key)
    if editing.beat_synchronous:
        if len(beat_seconds) < 2:
            warnings.append("No beats are known, so chords are where they were heard.")
        found = chord_editing.beat_synchronous(found, beat_seconds)
    told = tuple(replace(chord, numeral=roman.numeral(chord.label, key)) for chord in found)
    return Edited(told, key, tuple(warnings), tuple(corrections))


def _moved(found: list[Chord], editing: Editing, key: str) -> tuple[list[Chord], str, list[str]]:
    """Transposition and capo: the chords, the key they are then in, and warnings."""
    warnings: list[str] = []
    semitones = editing.transpose_semitones
    aim = chord_editing.transposed_key(key, semitones) if semitones else key
    if editing.target_key:
        if not key:
            warnings.append("The chords have no key, so none can be moved to another.")
        else:
            semitones, aim = _towards(key, editing.target_key), editing.target_key
            if key.split(" ")[1] != aim.split(" ")[1]:
                warnings.append(f"The chords are in {key}; moving them does not make {aim} of it.")
    if abs(semitones) > _FAR_SEMITONES:
        nearer = semitones - 12 if semitones > 0 else semitones + 12
        warnings.append(f"{semitones:+d} semitones are far: {nearer:+d} would be as good.")
    if semitones or aim != key:
        found = chord_editing.transposed(found, semitones, aim)
    if editing.capo_fret:
        found = chord_editing.with_capo(found, editing.capo_fret, aim)
        aim = chord_editing.transposed_key(aim, -editing.capo_fret)
    return found, aim, warnings


def _towards(key: str, target: str) -> int:
    """The shortest way from one tonic to another, in [-6, 6)."""
    up = harte.pitch_class(target.split(" ")[0]) - harte.pitch_class(key.split(" ")[0])
    return (up + 6) % 12 - 6


def key_of(chords: Sequence[Chord]) -> str:
    """The key whose notes the chords have, by time; empty without chords."""
    classes = np.zeros((1, 12))
    for chord in chords:
        label = harte.parse(chord.label)
        for pitch in label.classes:
            classes[0, pitch] += chord.seconds * (1.5 if pitch == label.root else 1.0)
    if not classes.any():
        return ""
    return KEYS[int(np.argmax(chances_of(classes)[0]))]


def in_order(chords: Sequence[Chord]) -> Sequence[Chord]:
    """These chords, once it is sure that none begins before the last has ended."""
    for line, (before, after) in enumerate(pairwise(chords), start=2):
        if after.start_seconds < before.end_seconds - _OVERLAP_SECONDS:
            told = f"{after.start_seconds:g} {after.end_seconds:g} {after.label}"
            raise ChordsUnparsable(line, told)
    return chords


def from_lab(text: str) -> list[Chord]:
    """Reads LAB text; raises `ChordsUnparsable`."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            start, end, label = line.split()
            times = float(start), float(end)
            if not 0.0 <= times[0] <= times[1] <= 1e6:
                raise ValueError
            found.append(Chord(*times, label=str(harte.parse(label))))
        except (ValueError, harte.LabelUnreadable):
            raise ChordsUnparsable(number, line[:80]) from None
    return found


def to_lab(chords: Sequence[Chord]) -> str:
    """Writes LAB text: `start end label` per line, in seconds."""
    return "".join(f"{c.start_seconds:.6f} {c.end_seconds:.6f} {c.label}\n" for c in chords)
