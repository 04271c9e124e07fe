"""Properties of chord recognition."""

from itertools import pairwise

import numpy as np
import pytest
import signals
from chorale_analysis.chords import recognize
from chorale_analysis.harmony import Chord, ChordSettings, Harmony
from chorale_analysis.onsets import OnsetListener
from chorale_analysis.pitches import NOTE_COUNT, PitchListener
from chorale_analysis.spectra import RATE_HZ
from signals import Signal


def heard(sound: Signal, vocabulary: str = "large_voca", block: int = 1 << 16) -> Harmony:
    """The chords of a sound at the listening rate."""
    pitches, onsets = PitchListener(), OnsetListener()
    for start in range(0, len(sound), block):
        pitches.push(sound[start : start + block, 0])
        onsets.push(sound[start : start + block, 0])
    settings = ChordSettings(vocabulary)
    return recognize(pitches.finish(), onsets.finish(), len(sound) / RATE_HZ, settings)


def long_ones(harmony: Harmony) -> list[Chord]:
    """Chords of a third of a second and more."""
    return [chord for chord in harmony.chords if chord.seconds > 0.3]


@pytest.mark.parametrize(
    ("tonic", "mode", "expected"),
    [
        ("C", "major", ["C:maj", "F:maj", "G:maj", "C:maj"]),
        ("F#", "minor", ["F#:min", "B:min", "C#:maj", "F#:min"]),
        ("Bb", "major", ["Bb:maj", "Eb:maj", "F:maj", "Bb:maj"]),
    ],
)
def test_a_cadence_is_heard(tonic: str, mode: str, expected: list[str]) -> None:
    """Every chord is named, surely, at its time."""
    sound = signals.cadence(tonic, mode, repeats=1, chord_seconds=1.0, rate_hz=RATE_HZ)
    found = long_ones(heard(sound))
    assert [chord.label for chord in found] == expected
    assert [c.start_seconds for c in found] == pytest.approx([0, 1, 2, 3], abs=0.12)
    assert min(chord.confidence for chord in found) > 0.7
    assert [chord.bass for chord in found] == [label.split(":")[0] for label in expected]


@pytest.mark.parametrize("cents", [-40.0, -15.0, 30.0])
def test_tuning_does_not_matter(cents: float) -> None:
    """The same chords are heard when all is tuned off."""
    rate = round(RATE_HZ * 2.0 ** (-cents / 1200.0))
    sound = signals.cadence("D", "major", repeats=2, chord_seconds=1.0, rate_hz=rate)
    labels = [chord.label for chord in long_ones(heard(sound))]
    expected = ["D:maj", "G:maj", "A:maj", "D:maj", "G:maj", "A:maj", "D:maj"]
    assert labels == expected


@pytest.mark.parametrize(
    "sound",
    [
        signals.clicks(120, 8, rate_hz=RATE_HZ),
        signals.sweep(100, 4000, 8, rate_hz=RATE_HZ),
        signals.silence(2, 1, RATE_HZ),
    ],
    ids=["clicks", "sweep", "silence"],
)
def test_no_chord_is_made_up(sound: Signal) -> None:
    """Where nothing tonal sounds there is no chord for most of the time, and none that is sure."""
    chords = heard(sound).chords
    none = sum(chord.seconds for chord in chords if chord.label == "N")
    assert none > 0.85 * sum(chord.seconds for chord in chords)
    assert max((c.confidence for c in chords if c.label != "N"), default=0.0) < 0.6


@pytest.mark.parametrize("kind", ["white", "pink", "tone", "dc"])
def test_what_has_no_harmony_has_no_chords(kind: str) -> None:
    """Noise, a steady tone and DC are `N` from end to end."""
    sounds = {
        "white": signals.noise(20, 3, 1, RATE_HZ),
        "pink": signals.pink_noise(20, 4, 1, RATE_HZ),
        "tone": signals.sine(-12, 6, 1, 440, RATE_HZ),
        "dc": np.full((6 * RATE_HZ, 1), 0.5, np.float32),
    }
    assert [chord.label for chord in heard(sounds[kind]).chords] == ["N"]


def test_chords_have_no_holes() -> None:
    """Chords cover all the time in order, probabilities are such, and others differ from it."""
    sound = signals.song(110, "A", "minor", 6.0)[::2]
    chords = heard(sound).chords
    assert chords[0].start_seconds == 0.0
    assert chords[-1].end_seconds == pytest.approx(len(sound) / RATE_HZ)
    for before, after in pairwise(chords):
        assert before.end_seconds == after.start_seconds
        assert before.label != after.label
    for chord in chords:
        total = chord.confidence + sum(other.probability for other in chord.alternatives)
        assert total <= 1.0 + 1e-9
        assert chord.label not in {other.label for other in chord.alternatives}


@pytest.mark.parametrize("block", [4097, 30_000])
def test_blocks_do_not_matter(block: int) -> None:
    """However the sound is cut, the same chords are heard."""
    sound = signals.cadence("E", "minor", repeats=1, rate_hz=RATE_HZ)
    whole, parts = heard(sound), heard(sound, block=block)
    assert [c.label for c in parts.chords] == [c.label for c in whole.chords]


def test_a_vocabulary_is_kept_to() -> None:
    """Of major and minor only these are told, even where sevenths sound."""
    pitches = [48, 52, 55, 58]
    time = np.arange(RATE_HZ * 2) / RATE_HZ
    tones = [np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * time) for p in pitches]
    sound = signals.channels(0.1 * np.sum(tones, axis=0), 1)
    assert {c.label for c in long_ones(heard(sound, "majmin"))} == {"C:maj"}
    assert {c.label for c in long_ones(heard(sound, "large_voca"))} == {"C:7"}


def test_single_notes_are_told_apart() -> None:
    """A tone with overtones is one note: its overtones are explained by it."""
    listener = PitchListener()
    time = np.arange(RATE_HZ * 2) / RATE_HZ
    tone = sum(0.6**n * np.sin(2 * np.pi * n * 220.0 * time) for n in range(1, 8))
    listener.push(np.asarray(0.3 * tone, np.float32))
    notes = listener.finish().notes.mean(axis=0)
    assert notes.shape == (NOTE_COUNT,)
    assert int(np.argmax(notes)) == 57 - 28
    assert notes[57 - 28] > 3 * np.delete(notes, 57 - 28).max()
