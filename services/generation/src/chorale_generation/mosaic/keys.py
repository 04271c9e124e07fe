"""Bringing two tracks to one key."""

from collections.abc import Sequence
from dataclasses import dataclass

_TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_FLATS_AND_SHARPS = {"Db": 1, "D#": 3, "Gb": 6, "G#": 8, "A#": 10, "Cb": 11, "B#": 0}
_FLATS_AND_SHARPS |= {"E#": 5, "Fb": 4}
_RELATIVE_SEMITONES = 3  # A minor has the notes of C major


@dataclass(frozen=True)
class Shifts:
    """The key of the result, and how far each track goes to get there."""

    key: str
    semitones: tuple[int, int]


def shifts(keys: Sequence[str], harmony: Sequence[float], wanted: str) -> Shifts:
    """Chooses the key whose notes are nearest to both tracks.

    `harmony` says how much of each track's harmony will sound: one that is not heard need not
    move. A key that is not known does not move either.
    """
    known = [_scale(key) if key else None for key in keys]
    heaviest = max((0, 1), key=lambda i: (known[i] is not None, harmony[i], -i))
    if known[heaviest] is None and not wanted:
        return Shifts("", (0, 0))

    def cost(scale: int) -> tuple[float, float, int]:
        ways = [0 if own is None else abs(_way(own, scale)) for own in known]
        weighed = sum(share * way for share, way in zip(harmony, ways, strict=True))
        return weighed, float(max(ways)), scale

    scale = _scale(wanted) if wanted else min(range(12), key=cost)
    first, second = (0 if own is None else _way(own, scale) for own in known)
    mode = (wanted or keys[heaviest]).rpartition(" ")[2]
    tonic = scale if mode == "major" else (scale - _RELATIVE_SEMITONES) % 12
    return Shifts(wanted or f"{_TONICS[tonic]} {mode}", (first, second))


def compatible(one: str, other: str) -> bool:
    """Whether two keys mix: they share their notes, or all but one."""
    return (_scale(one) - _scale(other)) % 12 in (0, 5, 7)


def _scale(key: str) -> int:
    """The tonic of the major key with these notes, 0 for C."""
    tonic, _, mode = key.partition(" ")
    place = _FLATS_AND_SHARPS[tonic] if tonic in _FLATS_AND_SHARPS else _TONICS.index(tonic)
    return place if mode == "major" else (place + _RELATIVE_SEMITONES) % 12


def _way(start: int, end: int) -> int:
    """Semitones from one to the other by the shorter way, in [-6, 5]."""
    return (end - start + 6) % 12 - 6
