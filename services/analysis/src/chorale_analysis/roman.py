"""Roman numerals: a chord against the key it stands in."""

from chorale_analysis import harte

_NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII")
# By semitones over the tonic: the degree, and how it is altered against the key's own scale.
_MAJOR = ((0, ""), (1, "b"), (1, ""), (2, "b"), (2, ""), (3, ""), (3, "#"), (4, ""), (5, "b"),
          (5, ""), (6, "b"), (6, ""))  # fmt: skip
_MINOR = ((0, ""), (1, "b"), (1, ""), (2, ""), (2, "#"), (3, ""), (3, "#"), (4, ""), (5, ""),
          (5, "#"), (6, ""), (6, "#"))  # fmt: skip
_SUFFIX = {
    "maj": "", "min": "", "dim": "°", "aug": "+", "7": "7", "maj7": "maj7", "min7": "7",
    "dim7": "°7", "hdim7": "ø7", "minmaj7": "maj7", "maj6": "add6", "min6": "add6",
}  # fmt: skip
_DIATONIC = {
    "major": {0: "I", 2: "ii", 4: "iii", 5: "IV", 7: "V", 9: "vi"},
    "minor": {0: "i", 3: "III", 5: "iv", 7: "V", 8: "VI", 10: "VII"},
}


def numeral(text: str, key: str) -> str:
    """The numeral of a chord such as `V7` or `V7/ii`; empty without a chord or a key."""
    label = harte.parse(text)
    if not key or not label.is_chord:
        return ""
    tonic, mode = key.split(" ")
    up = (label.root - harte.pitch_class(tonic)) % 12
    applied = _applied(label, up, mode)
    return applied or _plain(label, up, mode)


def _plain(label: harte.Label, up: int, mode: str) -> str:
    degree, sign = (_MAJOR if mode == "major" else _MINOR)[up]
    if mode == "minor" and up == 11 and label.quality in ("dim", "dim7", "hdim7"):
        sign = ""  # the leading note's own chord
    name = _NUMERALS[degree]
    steps = label.intervals
    if 3 in steps and 4 not in steps:
        name = name.lower()
    return sign + name + _SUFFIX.get(label.quality, label.quality)


def _applied(label: harte.Label, up: int, mode: str) -> str:
    """A dominant of another degree than the first, when the key itself does not have it."""
    if label.quality not in ("maj", "7"):
        return ""
    aim = (up + 5) % 12
    known = _DIATONIC[mode]
    own_dominants = {"major": {0, 5, 7}, "minor": {7, 3, 8, 10}}[mode]
    is_own = up in own_dominants and not (label.quality == "7" and up == 0)
    if is_own or aim not in known or aim == 0:
        return ""
    return f"V{'7' if label.quality == '7' else ''}/{known[aim]}"
