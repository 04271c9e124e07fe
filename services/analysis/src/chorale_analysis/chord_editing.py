"""What can be made of chords once they are heard: functions from chords to new ones."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from chorale_analysis import harte
from chorale_analysis.harmony import CapoAdvice, Chord, Correction, Statistics

_OPEN_SHAPES = frozenset({"C:maj", "A:maj", "G:maj", "E:maj", "D:maj", "A:min", "E:min", "D:min"})
_PLAIN = {"maj", "min", "aug", "dim", "sus4", "sus2"}
_CAPO_FRETS = 12


def simplified(chords: Sequence[Chord]) -> list[Chord]:
    """Only major, minor, augmented, diminished and suspended chords, none inverted."""
    return [replace(chord, label=_plain(chord.label)) for chord in chords]


def merged(chords: Sequence[Chord], gap_seconds: float = 0.01) -> list[Chord]:
    """Equal neighbours no further apart than the gap as one, as sure as they are by time."""
    found: list[Chord] = []
    for chord in chords:
        last = found[-1] if found else None
        if (
            last is not None
            and last.label == chord.label
            and chord.start_seconds - last.end_seconds <= gap_seconds
        ):
            found[-1] = _one(last, chord)
        else:
            found.append(chord)
    return found


def without_short(chords: Sequence[Chord], least_seconds: float = 0.1) -> list[Chord]:
    """Chords shorter than that, the shortest first, join the longer of their neighbours."""
    found: list[Chord | None] = list(chords)
    before, after = [n - 1 for n in range(len(found))], [n + 1 for n in range(len(found))]
    waiting = [(chord.seconds, n) for n, chord in enumerate(chords)]
    heapq.heapify(waiting)
    left = len(found)
    while waiting and left > 1:
        seconds, place = heapq.heappop(waiting)
        gone = found[place]
        if gone is None or gone.seconds != seconds:
            continue  # joined by another since, or joined to another
        if seconds >= least_seconds:
            break
        one, two = before[place], after[place]
        earlier = found[one] if one >= 0 else None
        later = found[two] if two < len(found) else None
        if earlier is not None and (later is None or earlier.seconds >= later.seconds):
            kept, at = replace(earlier, end_seconds=gone.end_seconds), one
        elif later is not None:
            kept, at = replace(later, start_seconds=gone.start_seconds), two
        else:
            break  # it is alone
        found[place], found[at] = None, kept
        heapq.heappush(waiting, (kept.seconds, at))
        if one >= 0:
            after[one] = two
        if two < len(found):
            before[two] = one
        left -= 1
    return [chord for chord in found if chord is not None]


def transposed(chords: Sequence[Chord], semitones: int, key: str = "") -> list[Chord]:
    """Every chord moved, and spelt as in this key: the one they stand in afterwards."""
    return [_moved(chord, semitones, key) for chord in chords]


def transposed_key(key: str, semitones: int) -> str:
    """A key moved, with the spelling that has fewer signs."""
    if not key:
        return ""
    tonic, mode = key.split(" ")
    pitch = (harte.pitch_class(tonic) + semitones) % 12
    usual = {"major": (1, 3, 8, 10), "minor": (3, 10)}[mode]
    sharp = {"major": ("F#", 6), "minor": ("C#", 1)}[mode]
    if pitch == sharp[1]:
        return f"{sharp[0]} {mode}"
    flat = "F major" if pitch in usual else "G major"
    return f"{harte.note(pitch, flat)} {mode}"


def with_capo(chords: Sequence[Chord], fret: int, key: str = "") -> list[Chord]:
    """Chords as they are fingered with a capo: lower by its fret."""
    return transposed(chords, -fret, transposed_key(key, -fret))


def beat_synchronous(chords: Sequence[Chord], beat_seconds: Sequence[float]) -> list[Chord]:
    """Chords that begin and end on beats, at the nearest; what falls between two is gone.

    Where there is no chord the one before goes on.
    """
    if not chords or len(beat_seconds) < 2:
        return list(chords)
    beats = np.asarray(beat_seconds, float)
    edges = [chords[0].start_seconds, *beats.tolist(), chords[-1].end_seconds]
    edges = sorted({edge for edge in edges if edges[0] <= edge <= edges[-1]})
    first_beat = edges.index(beats[0]) if beats[0] in edges else 0
    found: list[Chord] = []
    place = 0
    for number, (start, end) in enumerate(pairwise(edges)):
        middle = 0.5 * (start + end)
        while place + 1 < len(chords) and chords[place + 1].start_seconds <= middle:
            place += 1
        heard = chords[place]
        if heard.label == harte.NONE and found:
            heard = found[-1]
        if found and found[-1].label == heard.label:
            found[-1] = replace(found[-1], end_seconds=end)
        else:
            index = number - first_beat if number >= first_beat else -1
            found.append(replace(heard, start_seconds=start, end_seconds=end, beat_index=index))
    return found


def spelt(chords: Sequence[Chord], key: str) -> tuple[list[Chord], list[Correction]]:
    """Chords spelt as their key is, and which of them were spelt anew."""
    found = [_moved(chord, 0, key) for chord in chords]
    corrections = [
        Correction(index, before.label, after.label)
        for index, (before, after) in enumerate(zip(chords, found, strict=True))
        if before.label != after.label
    ]
    return found, corrections


def statistics(chords: Sequence[Chord], key: str = "") -> Statistics:
    """Figures over the chords; those without a root count for none but the seconds."""
    seconds: Counter[str] = Counter()
    for chord in chords:
        seconds[chord.label] += chord.seconds  # type: ignore[assignment]
    real = [chord for chord in chords if harte.parse(chord.label).is_chord]
    total = sum(chord.seconds for chord in chords)
    per_minute = 60.0 * len(real) / total if total > 0.0 else 0.0
    return Statistics(
        chord_count=len(real),
        distinct_count=len({chord.label for chord in real}),
        complexity=complexity(real, key),
        chords_per_minute=min(per_minute, 10_000.0),
        label_seconds={label: float(held) for label, held in seconds.items()},
        capos=tuple(capo_advice(chords, key)),
    )


def complexity(chords: Sequence[Chord], key: str = "") -> float:
    """How rich harmony is, in [0, 10]: variety, notes beyond triads, notes beyond the key, pace."""
    labels = [harte.parse(chord.label) for chord in chords]
    labels = [label for label in labels if label.is_chord]
    total = sum(chord.seconds for chord in chords)
    if not labels or total <= 0.0:
        return 0.0
    variety = min(1.0, (len({str(label) for label in labels}) - 1) / 15.0)
    beyond = float(np.mean([min(1.0, 0.5 * (len(label.classes) - 3)) for label in labels]))
    scale = _scale(key)
    foreign = [len(label.classes - scale) / len(label.classes) for label in labels] if key else [0]
    pace = min(1.0, 60.0 * len(labels) / total / 120.0)
    parts = variety, max(0.0, beyond), min(1.0, 2.0 * float(np.mean(foreign))), pace
    return 10.0 * float(np.dot(parts, (0.4, 0.25, 0.2, 0.15)))


def capo_advice(chords: Sequence[Chord], key: str = "") -> list[CapoAdvice]:
    """Every fret, the easiest first: the most time on open chords, then the lowest fret."""
    plain = [(harte.parse(_plain(chord.label)), chord.seconds) for chord in chords]
    plain = [(label, seconds) for label, seconds in plain if label.is_chord]
    total = sum(seconds for _, seconds in plain)
    advice = []
    for fret in range(_CAPO_FRETS + 1):
        is_open = sum(s for label, s in plain if _fingered(label, fret) in _OPEN_SHAPES)
        share = is_open / total if total > 0.0 else 0.0
        advice.append(CapoAdvice(fret, transposed_key(key, -fret), min(1.0, share)))
    return sorted(advice, key=lambda one: (-round(one.open_share, 6), one.fret))


def _plain(text: str) -> str:
    label = harte.parse(text)
    if not label.is_chord:
        return text
    quality = label.quality
    if quality not in _PLAIN:
        steps = set(label.intervals)
        third = 4 in steps or not steps & {3, 5, 2}
        quality = ("aug" if 8 in steps and 7 not in steps else "maj") if third else "sus4"
        if 3 in steps and 4 not in steps:
            quality = "dim" if 6 in steps and 7 not in steps else "min"
    return str(replace(label, quality="sus4" if quality == "sus2" else quality, bass=0))


def _moved(chord: Chord, semitones: int, key: str) -> Chord:
    def move(text: str) -> str:
        label = harte.parse(text)
        if not label.is_chord:
            return text
        root = (label.root + semitones) % 12
        return str(replace(label, root=root, spelling=harte.note(root, key)))

    bass = chord.bass
    if bass:
        bass = harte.note(harte.pitch_class(bass) + semitones, key)
    others = tuple(replace(other, label=move(other.label)) for other in chord.alternatives)
    return replace(chord, label=move(chord.label), alternatives=others, bass=bass)


def _one(first: Chord, second: Chord) -> Chord:
    total = first.seconds + second.seconds
    sure = first.confidence
    if total > 0.0:
        sure = (first.confidence * first.seconds + second.confidence * second.seconds) / total
    longer = first if first.seconds >= second.seconds else second
    return replace(
        longer,
        start_seconds=first.start_seconds,
        end_seconds=second.end_seconds,
        confidence=sure,
        beat_index=first.beat_index,
    )


def _fingered(label: harte.Label, fret: int) -> str:
    return str(harte.named(label.root - fret, label.quality))


def _scale(key: str) -> frozenset[int]:
    if not key:
        return frozenset()
    tonic, mode = key.split(" ")
    steps = (0, 2, 4, 5, 7, 9, 11) if mode == "major" else (0, 2, 3, 5, 7, 8, 10, 11)
    return frozenset((harte.pitch_class(tonic) + step) % 12 for step in steps)
