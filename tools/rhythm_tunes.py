"""Scores to learn rhythm from: dance tunes of music21's corpus, accompanied as players would."""

import random
from collections.abc import Iterator

from rhythm_scores import METERS, Note, Score, Voice, accompaniment, drums, parsed

_BARS, _LEAST_BARS = 24, 6
_FOLDERS = ("/ryansMammoth/", "/airdsAirs/", "/oneills1850/")
_CHORDS = (0, 5, 7, 9, 2, 4)  # roots over the tonic, the likeliest first
_MINOR_STEPS = frozenset({9, 2, 4})
_TUNE_ON, _CHORDS_ON = (40, 73, 21, 25, 105, 0, 22), (0, 24, 25, 21, 46)


def tunes(count: int) -> Iterator[Score]:
    """Tunes of every meter in turns, so that reels in two do not outnumber all others."""
    if not count:
        return
    from music21 import corpus  # type: ignore[import-not-found,import-untyped,unused-ignore]

    paths = sorted(str(path) for path in corpus.getCorePaths())
    paths = [path for path in paths if any(folder in path for folder in _FOLDERS)]
    random.Random("tunes").shuffle(paths)
    made: dict[str, int] = {}
    for path in paths:
        score = _tune(path, made)
        if score is not None:
            made[score.time_signature] = made.get(score.time_signature, 0) + 1
            yield score
        if sum(made.values()) >= count:
            return


def _tune(path: str, made: dict[str, int]) -> Score | None:
    """A tune with chords and bass, over and over; None where it has too few whole bars."""
    from music21 import key

    piece = parsed(path)
    if piece is None:
        return None
    measures = list(piece.parts[0].getElementsByClass("Measure")) if piece.parts else []
    signature = measures[0].timeSignature.ratioString if measures else ""
    usual = sum(made.values()) / max(1, len(made))
    if signature not in METERS or made.get(signature, 0) > 2 * usual + 4:
        return None
    if signature == "2/2":  # reels in two are as often printed, and counted, in four
        signature = "4/4"
    beat_count, beat = METERS[signature]
    bar = beat_count * beat
    whole = _whole(measures, bar)
    if len(whole) < _LEAST_BARS:
        return None
    tonic = next((one.tonic.pitchClass for one in piece.recurse().getElementsByClass(key.Key)), 0)
    name = f"tune_{path.rsplit('/', 1)[1].rsplit('.', 1)[0]}"
    chance = random.Random(name)
    sung = [
        Note(number * bar + start, number * bar + end, pitch, 84)
        for number in range(_BARS)
        for start, end, pitch in whole[number % len(whole)]
    ]
    voices = [Voice(0, chance.choice(_TUNE_ON), sung)]
    if chance.random() < 0.8:
        voices += _accompanied(chance, whole, tonic, (beat_count, beat))
    if chance.random() < 0.15:
        voices.append(Voice(9, 0, drums(chance, beat_count, beat, _BARS)))
    usual_bpm = {"4/4": 150.0, "3/4": 120.0, "2/4": 100.0}.get(signature, 90.0)
    bpm = usual_bpm * 2.0 ** min(max(chance.gauss(0.0, 0.3), -0.8), 0.5)
    beats = [(k * beat, k % beat_count + 1) for k in range(_BARS * beat_count)]
    shape = chance.choice(["constant", "drift", "drift"])
    return Score(name, "tune", voices, beats, signature, bpm * beat, shape)


Bar = list[tuple[float, float, int]]  # notes: start and end within the bar in quarters, pitch


def _whole(measures: list[object], bar: float) -> list[Bar]:
    """The first run of whole bars, after a pickup."""
    run: list[Bar] = []
    for measure in measures:
        if abs(float(measure.duration.quarterLength) - bar) > 1e-6:  # type: ignore[attr-defined]
            if len(run) >= _LEAST_BARS:
                break
            run = []
            continue
        run.append(
            [
                (float(note.offset), float(note.offset + note.quarterLength) * 0.97, pitch.midi)
                for note in measure.flatten().notes  # type: ignore[attr-defined]
                if note.quarterLength
                for pitch in note.pitches
            ]
        )
    return run


def _accompanied(
    chance: random.Random, bars: list[Bar], tonic: int, meter: tuple[int, float]
) -> list[Voice]:
    """The chord of every bar that holds most of its tune, and its root in the bass."""
    beat_count, beat = meter
    bar = beat_count * beat
    style = chance.choice(["struck", "after", "after", "broken", "held"])
    middle = chance.random() < 0.6 and beat_count != 3
    grid = beat / 3 if beat == 1.5 else beat / 2
    chords: list[Note] = []
    bass: list[Note] = []
    for number in range(_BARS):
        at = number * bar
        root, tones = _chord(bars[number % len(bars)], tonic)
        chords += accompaniment(at, bar, beat, grid, style, tones)
        bass.append(Note(at, at + 0.9 * beat, 36 + root, 88))
        if middle:
            fifth = 36 + (root + 7) % 12
            bass.append(Note(at + bar / 2, at + bar / 2 + 0.9 * beat, fifth, 80))
    return [Voice(1, chance.choice(_CHORDS_ON), chords), Voice(2, 32, bass)]


def _chord(bar: Bar, tonic: int) -> tuple[int, tuple[int, int, int]]:
    """The root and tones of the triad that most of a bar's tune belongs to."""

    def tones(step: int) -> tuple[int, int, int]:
        root = (tonic + step) % 12
        return root, root + (3 if step in _MINOR_STEPS else 4), root + 7

    def held(step: int) -> float:
        inside = {tone % 12 for tone in tones(step)}
        return sum(end - start for start, end, pitch in bar if pitch % 12 in inside)

    best = max(_CHORDS, key=lambda step: held(step) - 0.05 * _CHORDS.index(step))
    return (tonic + best) % 12, tones(best)
