"""The chords that `chord-cnn-lstm` may tell, and what its six heads answer to each."""

from chorale_analysis.harte import QUALITIES

# Triad, seventh, ninth, eleventh, thirteenth, as the heads count them; 0 is none.
ANSWERS: dict[str, tuple[int, int, int, int, int]] = {
    "maj": (1, 0, 0, 0, 0),
    "min": (2, 0, 0, 0, 0),
    "sus4": (3, 0, 0, 0, 0),
    "sus2": (4, 0, 0, 0, 0),
    "dim": (5, 0, 0, 0, 0),
    "aug": (6, 0, 0, 0, 0),
    "maj6": (1, 0, 0, 0, 1),
    "min6": (2, 0, 0, 0, 1),
    "7": (1, 2, 0, 0, 0),
    "maj7": (1, 1, 0, 0, 0),
    "min7": (2, 2, 0, 0, 0),
    "minmaj7": (2, 1, 0, 0, 0),
    "dim7": (5, 3, 0, 0, 0),
    "hdim7": (5, 2, 0, 0, 0),
    "aug7": (6, 2, 0, 0, 0),
    "sus4(b7)": (3, 2, 0, 0, 0),
    "9": (1, 2, 1, 0, 0),
    "maj9": (1, 1, 1, 0, 0),
    "min9": (2, 2, 1, 0, 0),
    "maj(9)": (1, 0, 1, 0, 0),
    "min(9)": (2, 0, 1, 0, 0),
    "7(b9)": (1, 2, 3, 0, 0),
    "7(#9)": (1, 2, 2, 0, 0),
    "11": (1, 2, 1, 1, 0),
    "min11": (2, 2, 1, 1, 0),
    "13": (1, 2, 1, 1, 1),
    "maj13": (1, 1, 1, 1, 1),
    "min13": (2, 2, 1, 1, 1),
}

# Of these dictionaries: qualities in root position, and what may lie in the bass of which triad.
_SUSPENDED = ("sus4(b7)", "sus2", "sus4")
_RICH = ("13", "11", "min9", "9", "maj9", "dim7", "hdim7", "min7", "7", "maj7")
_TRIADS = ("dim", "aug", "min", "maj")
_INVERSIONS = (("min", 7), ("min", 3), ("maj", 7), ("maj", 4))
_PLAIN = (
    *("min", "maj", "dim", "aug", "min6", "maj6", "min7"),
    *("minmaj7", "maj7", "7", "dim7", "hdim7", "sus2", "sus4"),
)


def _in_root_position(*qualities: str) -> tuple[tuple[str, int], ...]:
    return tuple((quality, 0) for quality in qualities)


def _full() -> tuple[tuple[str, int], ...]:
    """Every quality over each of its notes, and both triads over any."""
    over_own = [(quality, bass) for quality in ANSWERS for bass in QUALITIES[quality]]
    over_any = [(quality, bass) for quality in ("maj", "min") for bass in range(12)]
    return tuple(dict.fromkeys([*over_own, *over_any]))


DICTIONARIES: dict[str, tuple[tuple[str, int], ...]] = {
    "submission": (
        *(("min", 10), ("min", 2), ("maj", 10), ("maj", 2)),
        *_in_root_position(*_SUSPENDED, *_RICH),
        *_INVERSIONS,
        *_in_root_position(*_TRIADS),
    ),
    "ismir2017": _in_root_position(*_PLAIN),
    "extended": (
        *(("maj", 5), ("maj", 2)),
        *_in_root_position(*_SUSPENDED, *_RICH, "min6", "maj6"),
        *_INVERSIONS,
        *_in_root_position(*_TRIADS),
    ),
    "full": _full(),
}
"""By the published names; `full` is made by rule, where the published one lists what was found."""
