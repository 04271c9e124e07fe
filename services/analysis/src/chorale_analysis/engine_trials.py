"""Trying engines on sounds of known truth: what is asked and told; `examples` has the sounds."""

from dataclasses import dataclass

# What each capability is tried on, by the names of `examples.EXAMPLES`, and what is expected.
TRIALS: dict[str, dict[str, str]] = {
    "beats": {
        "click_120_bpm": "120 BPM within 2 %",
        "click_93_bpm": "93 BPM within 2 %",
        "noise": "no beats and no tempo",
    },
    "key": {"cadence_c_major": "C major", "cadence_f_sharp_minor": "F# minor"},
    "chords": {"cadence_c_major": "C:maj F:maj G:maj"},
    "structure": {"two_parts": "a boundary at 16 s, within 3 s"},
}


@dataclass(frozen=True)
class Trial:
    """One engine on one sound; `path` leads to its weights, if it has any."""

    capability: str
    name: str
    maker: str
    path: str
    vocabulary: str = ""  # of chords; empty: the trial's own


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    passed: bool
    found: str
    seconds: float
    load_seconds: float
