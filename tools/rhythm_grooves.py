"""Scores to learn rhythm from: the patterns that drummers play, drawn from seeds."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rhythm_scores import METERS, Note, Score, Voice

_KICK, _STICK, _SNARE, _CLAP, _CLOSED, _OPEN, _LOW_TOM, _HIGH_TOM = 36, 37, 38, 39, 42, 46, 45, 50
_CRASH, _RIDE, _TAMBOURINE, _COWBELL, _SHAKER = 49, 51, 54, 56, 70
_BARS = 20


@dataclass(frozen=True)
class Pattern:
    """One bar in steps, a string for each drum: x struck, o softly, ? at times."""

    time_signature: str
    bpm: tuple[float, float]  # of its beats
    drums: dict[int, str]
    swing: bool = False


# As in the books that teach them.
_PATTERNS = {
    "rock": Pattern("4/4", (84, 150), {
        _CLOSED: "xoxoxoxo", _SNARE: "..x...x.", _KICK: "x...x?.?"}),
    "hard": Pattern("4/4", (90, 170), {
        _RIDE: "x.x.x.x.", _SNARE: "..x...x.", _KICK: "x?.xx..?"}),
    "soul": Pattern("4/4", (80, 124), {
        _CLOSED: "x.o.x.o.x.o.x.o.", _SNARE: "....x..o.o..x..o", _KICK: "x.?...?.?.x..?.."}),
    "house": Pattern("4/4", (110, 134), {
        _KICK: "x.x.x.x.", _OPEN: ".x.x.x.x", _CLAP: "..x...x.", _SHAKER: "o?o?o?o?"}),
    "dance": Pattern("4/4", (104, 130), {
        _KICK: "x...x...x...x...", _CLOSED: "x.oox.oox.oox.oo", _OPEN: "..x...x...x...x.",
        _SNARE: "....x.......x..?"}),
    "break": Pattern("4/4", (156, 182), {
        _RIDE: "x.x.x.x.", _SNARE: "..x.?.x.", _KICK: "x..?.x.."}),
    "jungle": Pattern("4/4", (150, 178), {
        _CLOSED: "x.x.x.x.x.x.x.x.", _SNARE: "....x..o.o..x...", _KICK: "x.?.......x...?."}),
    "trap": Pattern("4/4", (62, 90), {
        _CLOSED: "xoxoxoxoxo??xoxo", _SNARE: "....x.......x...", _KICK: "x..?..?...x..?.."}),
    "half": Pattern("4/4", (110, 160), {
        _CLOSED: "x.x.x.x.", _SNARE: "....x...", _KICK: "x..?..?."}),
    "bossa": Pattern("4/4", (110, 150), {
        _CLOSED: "xxxxxxxx", _KICK: "x..xx..x", _STICK: "x..x..x."}),
    "rumba": Pattern("4/4", (100, 140), {
        _COWBELL: "x.xxx.xx", _STICK: "x..x...x", _KICK: "x..?..x.", _HIGH_TOM: "......oo"}),
    "samba": Pattern("2/4", (70, 108), {
        _SHAKER: "xoox", _KICK: "o.?x", _LOW_TOM: "..x.", _STICK: "x.xx"}),
    "samba fast": Pattern("2/4", (80, 120), {
        _CLOSED: "xooxxoox", _LOW_TOM: "....x...", _KICK: "o...x...", _STICK: "x.x..x.x"}),
    "march": Pattern("2/4", (96, 124), {
        _SNARE: "x.ooxooo", _KICK: "x...x...", _CRASH: "?......."}),
    "polka": Pattern("2/4", (96, 132), {_KICK: "x.x.", _SNARE: ".x.x", _CLOSED: "xxxx"}),
    "one drop": Pattern("4/4", (66, 90), {
        _CLOSED: "x.xox.xo", _STICK: "....x...", _KICK: "....x...", _SHAKER: "oooooooo"}),
    "swing": Pattern("4/4", (100, 200), {
        _RIDE: "x.xxx.xx", _CLOSED: "..x...x.", _KICK: "o.?.o.?.", _SNARE: "...?...?"}, swing=True),
    "shuffle": Pattern("4/4", (84, 130), {
        _CLOSED: "xxxxxxxx", _SNARE: "..x...x.", _KICK: "x..?x..?"}, swing=True),
    "brushes": Pattern("3/4", (96, 170), {
        _RIDE: "x.x.x.", _SNARE: "..o.o.", _KICK: "x....."}),
    "waltz": Pattern("3/4", (84, 180), {
        _KICK: "x.....", _SNARE: "..x.x.", _CLOSED: "x.x.x?"}),
    "waltz swung": Pattern("3/4", (110, 170), {
        _RIDE: "x.xxx.", _CLOSED: "..x...", _KICK: "x...?.", _SNARE: "...?.."}, swing=True),
    "ballad": Pattern("6/8", (44, 72), {
        _CLOSED: "xooxoo", _SNARE: "...x..", _KICK: "x....?"}),
    "jig": Pattern("6/8", (80, 124), {
        _TAMBOURINE: "xoxxox", _KICK: "x..x..", _STICK: "...x.?"}),
    "slow rock": Pattern("12/8", (50, 84), {
        _CLOSED: "xooxooxooxoo", _SNARE: "...x.....x..", _KICK: "x....?x....?"}),
}  # fmt: skip


def drummed(count: int) -> Iterator[Score]:
    """Drums alone, pattern after pattern, each time at another tempo."""
    names = sorted(_PATTERNS)
    for number in range(count):
        name = names[number % len(names)]
        yield _groove(f"drummed_{number:03}", _PATTERNS[name])


def _groove(name: str, pattern: Pattern) -> Score:
    """A pattern with fills and crashes where phrases end, and all that is drawn anew by bars."""
    chance = random.Random(name)
    beat_count, beat = METERS[pattern.time_signature]
    bar = beat_count * beat
    fixed = {
        drum: "".join(
            step if step != "?" else chance.choice("x.") if chance.random() < 0.7 else "?"
            for step in steps
        )
        for drum, steps in pattern.drums.items()
        if drum in (_KICK, _SNARE) or chance.random() < 0.9
    }
    phrase = chance.choice([4, 4, 8, 100])
    hits: list[tuple[float, int, int]] = []
    for number in range(_BARS):
        at = number * bar
        last = number % phrase == phrase - 1
        for drum, steps in fixed.items():
            for place, start in _struck(steps, bar, pattern.swing, beat):
                loud = {"x": 104, "o": 70}.get(steps[place], 0)
                if steps[place] == "?" and chance.random() < 0.4:
                    loud = 78
                accent = 8 if start == 0.0 else 0
                if loud and not (last and start >= bar - beat):
                    hits.append((at + start, drum, loud + accent))
        if last:
            hits += [
                (at + bar - beat + part * beat / 4, tom, 96)
                for part, tom in enumerate((_SNARE, _HIGH_TOM, _HIGH_TOM, _LOW_TOM))
            ]
        if number and number % phrase == 0:
            hits += [(at, _CRASH, 112), (at, _KICK, 112)]
    low, high = pattern.bpm
    bpm = low * (high / low) ** chance.random()
    notes = [Note(at, at + 0.1, drum, loud) for at, drum, loud in hits]
    beats = [(k * beat, k % beat_count + 1) for k in range(_BARS * beat_count)]
    return Score(
        name, "groove", [Voice(9, 0, notes)], beats, pattern.time_signature, bpm * beat, "constant"
    )


def _struck(steps: str, bar: float, swing: bool, beat: float) -> Iterator[tuple[int, float]]:
    """The steps of a bar in which something may be struck, and when they come."""
    length = bar / len(steps)
    for place, step in enumerate(steps):
        start = place * length
        late = beat / 6.0 if swing and abs(start % beat - beat / 2.0) < 1e-6 else 0.0
        if step != ".":
            yield place, start + late
