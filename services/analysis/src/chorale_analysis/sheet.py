"""What was found in a piece, as files tell it: `lab`, `csv`, `jams`, `midi`, `musicxml`."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


class OperationUnfit(Exception):
    """The operation was started by another RPC, or did not succeed."""

    def __init__(self, operation: str, method: str, needed: str) -> None:
        super().__init__(operation, method, needed)
        self.operation, self.method, self.needed = operation, method, needed

    def __str__(self) -> str:
        return f"{self.operation} was started by {self.method}; needed is {self.needed}."


class OperationNotDone(Exception):
    """The operation has not ended."""

    def __init__(self, operation: str, stage: str) -> None:
        super().__init__(operation, stage)
        self.operation, self.stage = operation, stage

    def __str__(self) -> str:
        return f"{self.operation} has not ended; it is at {self.stage or 'its beginning'}."


@dataclass(frozen=True)
class BeatMark:
    """One beat; position 0 is not known."""

    seconds: float
    position: int
    confidence: float


@dataclass(frozen=True)
class Mark:
    """A label over a stretch: a chord, a key or a section."""

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float


@dataclass(frozen=True)
class Sheet:
    """What was found; empty where it was not looked for. Times are those of the audio."""

    audio: str
    start_seconds: float
    end_seconds: float
    beats: tuple[BeatMark, ...] = ()
    beats_per_bar: int = 0
    is_compound: bool = False
    bpm: float = 0.0
    bpm_confidence: float = 0.0
    chords: tuple[Mark, ...] = ()
    keys: tuple[Mark, ...] = ()
    sections: tuple[Mark, ...] = ()

    @cached_property
    def bars(self) -> list[range]:
        """The beats of each bar, by their places; a pickup first if there is one."""
        starts = [place for place, beat in enumerate(self.beats) if beat.position == 1 or not place]
        return [range(*edges) for edges in itertools.pairwise([*starts, len(self.beats)])]

    @cached_property
    def meters(self) -> list[int]:
        """How many beats the time signature in force at each bar has.

        A pickup and a bar that the end cuts short are of the meter that follows or was there.
        """
        found, bars = [], self.bars
        now = self.beats_per_bar or 4
        for number, bar in enumerate(bars):
            is_whole = self.beats[bar.start].position == 1 and number + 1 < len(bars)
            now = len(bar) if is_whole else now
            found.append(now)
        return found

    @property
    def tracks(self) -> dict[str, tuple[Mark, ...]]:
        """The labelled stretches that there are, by name."""
        named = {"chords": self.chords, "key": self.keys, "structure": self.sections}
        return {name: marks for name, marks in named.items() if marks}


def at(marks: Sequence[Mark], seconds: float) -> Mark | None:
    """The stretch that holds a moment."""
    within = (mark for mark in marks if mark.start_seconds <= seconds < mark.end_seconds)
    return next(within, None)
