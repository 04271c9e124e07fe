"""What analysis heard in a track."""

from dataclasses import dataclass

# What drum loops reach by chance is .05 to .12, a lone voice .2, songs are mostly above.
SURE_KEY = 0.3


@dataclass(frozen=True)
class Heard:
    """A track as analysis knows it. No beats: none was heard; an empty key likewise."""

    duration_seconds: float
    beats_seconds: tuple[float, ...] = ()
    strengths: tuple[float, ...] = ()
    bpm: float = 0.0
    key: str = ""
    bpm_confidence: float = 0.0
    key_confidence: float = 0.0
    percussive_share: float = 0.0  # of its power; not of analysis, found where sound is read
    beats_per_bar: int = 0
    downbeat: int = -1  # place in `beats_seconds` of the first beat of a bar; -1: not known

    @property
    def sure_key(self) -> str:
        """Its key; empty where that is little more than a guess, as it is of drums."""
        return self.key if self.key_confidence >= SURE_KEY else ""

    @property
    def has_beats(self) -> bool:
        """Whether its tempo can be followed."""
        return len(self.beats_seconds) > 1 and self.bpm > 0.0


@dataclass(frozen=True)
class Outcome:
    """What is heard in what was made."""

    heard: Heard
    integrated_lufs: float
    true_peak_dbtp: float
