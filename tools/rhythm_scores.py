"""Scores to learn rhythm from: songs and grooves drawn from seeds, and old music."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_BARS = 20
# By time signature: beats in a bar, quarters in a beat.
METERS = {
    "4/4": (4, 1.0), "3/4": (3, 1.0), "2/4": (2, 1.0), "6/8": (2, 1.5), "9/8": (3, 1.5),
    "12/8": (4, 1.5), "2/2": (2, 2.0),
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A note, in quarters of the score or in seconds of its performance."""

    start: float
    end: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Voice:
    """What one instrument plays."""

    channel: int
    program: int
    notes: list[Note]


@dataclass(frozen=True)
class Score:
    """Notes with known beats."""

    name: str
    kind: str
    voices: list[Voice]
    beats: list[tuple[float, int]]  # quarters, and the place in the bar from 1
    time_signature: str
    quarter_bpm: float
    shape: str  # of the tempo: constant, drift, human, slowing
    key: str = ""


_PROGRESSIONS = ((0, 7, 9, 5), (9, 5, 0, 7), (0, 9, 5, 7), (2, 7, 0, 9), (0, 5, 7, 7), (5, 7, 4, 9))
_MINOR_STEPS = frozenset({2, 4, 9})


def songs(count: int) -> Iterator[Score]:
    """Chords, bass and tune, mostly with drums."""
    for number in range(count):
        yield _song(number)


def _song(number: int) -> Score:
    chance = random.Random(f"song {number}")
    signature = chance.choice(["4/4"] * 5 + ["6/8", "6/8", "3/4", "2/4", "12/8"])
    beat_count, beat = METERS[signature]
    bar, dotted = beat_count * beat, beat == 1.5
    bpm = _tempo(chance, 76.0 if dotted else 102.0)
    steps, tonic = chance.choice(_PROGRESSIONS), chance.randrange(12)
    grid = beat / 3 if dotted else chance.choice([0.5, 0.5, 0.25])
    style = chance.choice(["broken", "struck", "after", "held"])
    halves = beat_count == 4 and chance.random() < 0.3
    slow = chance.random() < 0.2
    chords: list[Note] = []
    bass: list[Note] = []
    for number_of_bar in range(_BARS):
        start, place = number_of_bar * bar, number_of_bar // (2 if slow else 1)
        parts = [(start, bar, steps[place % 4])]
        if halves:
            parts = [(start, bar / 2, steps[place % 4])]
            parts.append((start + bar / 2, bar / 2, steps[(place + 1) % 4]))
        for at, length, step in parts:
            third = 3 if step in _MINOR_STEPS else 4
            root = (tonic + step) % 12
            chords += accompaniment(at, length, beat, grid, style, (root, root + third, root + 7))
            bass.append(Note(at, at + length * 0.9, root + 36, 90))
            if chance.random() < 0.5:
                bass.append(Note(at + length / 2, at + length * 0.95, root + 36, 75))
    tune = _tune(chance, tonic, grid, beat)
    voices = [
        Voice(0, chance.choice([0, 4, 24, 26]), chords),
        Voice(1, chance.choice([32, 33, 38]), bass),
        Voice(2, chance.choice([80, 73, 53, 40, 25]), [n for n in tune if n.start < _BARS * bar]),
    ]
    if chance.random() < 0.7:
        voices.append(Voice(9, 0, drums(chance, beat_count, beat, _BARS)))
    shape = chance.choice(["constant", "constant", "drift"])
    key = f"{_TONICS[(tonic + 9) % 12]} minor" if steps[0] == 9 else f"{_TONICS[tonic]} major"
    beats = _beats(beat_count, beat, _BARS)
    return Score(f"song_{number:03}", "song", voices, beats, signature, bpm * beat, shape, key)


def _tempo(chance: random.Random, usual_bpm: float) -> float:
    """A tempo as music has them: near what is usual, seldom an octave off."""
    octaves = min(max(chance.gauss(0.0, 0.38), -1.0), 0.85)
    return usual_bpm * float(2.0**octaves)


def accompaniment(
    at: float, length: float, beat: float, grid: float, style: str, chord: tuple[int, int, int]
) -> list[Note]:
    """One chord for so long: broken, struck on beats, after them, or held."""
    if style == "held":
        return [Note(at, at + length * 0.95, 60 + pitch, 70) for pitch in chord]
    if style == "broken":
        return [
            Note(at + k * grid, at + k * grid + grid * 1.5, 60 + chord[(0, 1, 2, 1)[k % 4]], 66)
            for k in range(round(length / grid))
        ]
    late = 0.0 if style == "struck" else (2 * beat / 3 if beat == 1.5 else beat / 2)
    return [
        Note(at + k * beat + late, at + k * beat + late + beat * 0.5, 60 + pitch, 70)
        for k in range(max(1, round(length / beat)))
        for pitch in chord
    ]


def _tune(chance: random.Random, tonic: int, grid: float, beat: float) -> list[Note]:
    found = []
    for k in range(int(_BARS * 6 / grid)):
        on_beat = abs((k * grid) % beat) < 1e-6
        if chance.random() < (0.7 if on_beat else 0.4):
            pitch = tonic + chance.choice([0, 2, 4, 7, 9]) + 72
            end = k * grid + grid * chance.choice([1, 2])
            found.append(Note(k * grid, end, min(pitch, 96), chance.randint(70, 100)))
    return found


def drums(chance: random.Random, beat_count: int, beat: float, bars: int) -> list[Note]:
    """Kick, backbeat and cymbals, with fills and crashes at times."""
    bar, third = beat_count * beat, beat == 1.5
    grid = 0.5 if third else 0.25
    slots = int(bar / grid)
    back = [k * beat for k in range(beat_count) if k % 2] if beat_count != 3 else [beat, 2 * beat]
    if beat_count == 4 and chance.random() < 0.1:
        back = [2 * beat]
    kicks = {0}
    for slot in range(1, slots):
        at = slot * grid
        on_beat, on_half = at % beat < 1e-6, (2 * at) % beat < 1e-6
        likely = 0.05 if at in back else 0.5 if on_beat else 0.25 if on_half else 0.08
        if chance.random() < likely:
            kicks.add(slot)
    if beat_count == 4 and chance.random() < 0.3:
        kicks = {round(k * beat / grid) for k in range(4)}
    snare, cymbal = chance.choice([38, 38, 39, 37]), chance.choice([42, 42, 51, 70])
    step = beat / 3 if third else chance.choice([0.5, 0.5, 0.25, 1.0])
    swing = not third and step == 0.5 and chance.random() < 0.25
    hits: list[tuple[float, int, int]] = []
    for number in range(bars):
        at = number * bar
        fill = number % 4 == 3 and chance.random() < 0.6
        until = bar - beat if fill else bar
        hits += [(at + kick * grid, 36, 92 if kick else 114) for kick in sorted(kicks)]
        hits += [(at + x, snare, 100) for x in back if x < until]
        for k in range(round(bar / step)):
            x = k * step
            late = 1 / 6 if swing and abs(x % 1 - 0.5) < 1e-6 else 0.0
            if x < until:
                hits.append((at + x + late, cymbal, 84 if abs(x % beat) < 1e-6 else 62))
        if fill:
            hits += [(at + until + j * beat / 4, p, 95) for j, p in enumerate((38, 50, 47, 45))]
        if number and number % 4 == 0 and chance.random() < 0.6:
            hits.append((at, 49, 106))
    return [Note(at, at + 0.1, pitch, velocity) for at, pitch, velocity in hits]


def grooves(count: int) -> Iterator[Score]:
    """Drums alone."""
    for number in range(count):
        chance = random.Random(f"groove {number}")
        signature = chance.choice(["4/4"] * 5 + ["3/4", "6/8", "2/4"])
        beat_count, beat = METERS[signature]
        bpm = _tempo(chance, 84.0 if beat == 1.5 else 112.0)
        voice = Voice(9, 0, drums(chance, beat_count, beat, _BARS))
        beats = _beats(beat_count, beat, _BARS)
        name = f"groove_{number:03}"
        yield Score(name, "groove", [voice], beats, signature, bpm * beat, "constant")


def _beats(beat_count: int, beat: float, bars: int) -> list[tuple[float, int]]:
    return [(k * beat, k % beat_count + 1) for k in range(bars * beat_count)]


_LONG_BEATS = 0.65

# Of music21's corpus: folders, programs to play on, slowest and fastest beats, shapes of tempo.
_PIANO, _CHOIR, _STRINGS = (0, 0, 4, 6), (52, 19, 48, 0, 16), (40, 40, 48)
_KINDS: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[float, float], tuple[str, ...]]] = {
    "chorale": (("bach/bwv",), _CHOIR, (60.0, 104.0), ("constant", "drift", "slowing")),
    "madrigal": (("monteverdi/",), _CHOIR, (60.0, 120.0), ("constant", "drift")),
    "quartet": (
        ("haydn/", "mozart/", "beethoven/"), _STRINGS, (46.0, 140.0), ("constant", "drift"),
    ),
    "piano": (
        ("joplin/", "chopin/", "schumann_robert/", "cpebach/", "mozart/", "haydn/", "beethoven/"),
        _PIANO, (28.0, 120.0), ("human", "human", "drift"),
    ),
    "lied": (
        ("schubert/", "schumann_clara/", "schumann_robert/", "beach/", "schoenberg/"), _PIANO,
        (50.0, 120.0), ("drift", "constant", "human"),
    ),
}  # fmt: skip


# What is measured with: never learned from.
_MEASURED = (
    "bach/bwv17.7", "bach/bwv65.2", "bach/bwv269", "joplin/maple_leaf_rag",
    "mozart/k80/movement3", "mozart/k458/movement1",
)  # fmt: skip


def old_scores(count: int) -> Iterator[Score]:
    """Scores of music21's corpus in turns of kind; those that change their meter are left out."""
    if not count:
        return
    from music21 import corpus  # type: ignore[import-not-found,import-untyped,unused-ignore]

    paths = sorted(str(path) for path in corpus.getCorePaths())
    queues = {}
    for kind, (folders, *_) in _KINDS.items():
        inside = [path for path in paths if any(f"/corpus/{one}" in path for one in folders)]
        random.Random(kind).shuffle(inside)
        inside = [path for path in inside if not any(one in path for one in _MEASURED)]
        queues[kind] = inside * 3
    made = 0
    for turn in range(max(map(len, queues.values()))):
        for kind, queue in queues.items():
            if turn < len(queue) and made < count:
                score = _old(queue[turn], kind, turn)
                made += score is not None
                if score:
                    yield score


def parsed(path: str) -> Any:
    """A piece of the corpus, the first of a file that holds several; None if it cannot be read."""
    from music21 import corpus

    try:
        piece = corpus.parse(path)
    except Exception as broken:  # the corpus holds files that music21 itself cannot read
        print("left out", path.rsplit("/", 1)[1], type(broken).__name__, flush=True)
        return None
    return piece.scores[0] if hasattr(piece, "scores") and piece.scores else piece


def _old(path: str, kind: str, turn: int) -> Score | None:
    """A score of the corpus, played as its kind is; None where its meter is not one."""
    from music21 import key

    chance = random.Random(f"{path.split('/corpus/')[1]} {turn}")
    piece = parsed(path)
    parts = list(getattr(piece, "parts", []))[:6]
    counted = _bars_of(parts[0]) if parts else None
    if counted is None:
        return None
    signature, beats = counted
    _, programs, (slowest, fastest), shapes = _KINDS[kind]
    program = chance.choice(programs)
    voices = [
        Voice(number, program, notes)
        for number, part in enumerate(parts)
        if (notes := _notes_of(part, chance))
    ]
    if not voices:
        return None
    first = next(iter(parts[0].recurse().getElementsByClass(key.Key)), None)
    if METERS[signature][1] > 1.0:  # long beats are counted slower
        fastest *= _LONG_BEATS
    bpm = slowest * (fastest / slowest) ** chance.random()
    name = f"{kind}_{path.rsplit('/', 1)[1].rsplit('.', 1)[0]}_{turn}".replace(" ", "_")
    named = "" if first is None else f"{first.tonic.name.replace('-', 'b')} {first.mode}"
    quarter_bpm = bpm * METERS[signature][1]
    return Score(name, kind, voices, beats, signature, quarter_bpm, chance.choice(shapes), named)


def _bars_of(part: object) -> tuple[str, list[tuple[float, int]]] | None:
    """The one time signature of a part and its beats; None where there are several or others."""
    beats: list[tuple[float, int]] = []
    seen, filled = set(), 0.0
    for measure in part.getElementsByClass("Measure"):  # type: ignore[attr-defined]
        signature = measure.timeSignature or measure.getContextByClass("TimeSignature")
        if signature is None or signature.ratioString not in METERS:
            return None
        seen.add(signature.ratioString)
        beat_count, beat = METERS[signature.ratioString]
        bar, length = beat_count * beat, float(measure.duration.quarterLength)
        if not beats and length < bar - 1e-6:
            filled = bar - length  # a pickup; later a bar may be cut in two where parts repeat
        for place in range(beat_count):
            at = place * beat - filled
            if -1e-6 < at < length - 1e-6:
                beats.append((float(measure.offset) + at, place + 1))
        filled = (filled + length + 1e-6) % bar - 1e-6
    return (seen.pop(), beats) if len(seen) == 1 and len(beats) >= 16 else None


def _notes_of(part: object, chance: random.Random) -> list[Note]:
    found = []
    loud = chance.randint(64, 92)
    for note in part.flatten().notes:  # type: ignore[attr-defined]
        if "ChordSymbol" in note.classes or not note.quarterLength:
            continue
        start = float(note.offset)
        end = start + max(0.1, float(note.quarterLength) * 0.95)
        found += [Note(start, end, int(pitch.midi), loud) for pitch in note.pitches]
    return found
