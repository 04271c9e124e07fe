"""Properties of chord labels and of what is made of chords."""

from itertools import pairwise

import mir_eval  # type: ignore[import-untyped]
import numpy as np
import pytest
from chorale_analysis import chord_editing, chord_orders, harte, roman
from chorale_analysis.harmony import VOCABULARIES, Chord, ChordsUnparsable, Editing
from hypothesis import given
from hypothesis import strategies as some

KINDS = sorted({kind for kinds in VOCABULARIES.values() for kind in kinds})
labels = some.builds(
    lambda root, kind: str(harte.named(root, *kind)), some.integers(0, 11), some.sampled_from(KINDS)
)
songs = some.lists(
    some.tuples(some.one_of(labels, some.just("N")), some.floats(0.01, 5.0)),
    min_size=1,
    max_size=30,
).map(lambda pairs: song(*pairs))


def song(*pairs: tuple[str, float]) -> list[Chord]:
    """Chords one after the other: label and seconds."""
    edges = np.concatenate([[0.0], np.cumsum([seconds for _, seconds in pairs])]).tolist()
    return [
        Chord(start, end, label, 0.5)
        for (label, _), (start, end) in zip(pairs, pairwise(edges), strict=True)
    ]


def names(chords: list[Chord]) -> list[str]:
    """Their labels."""
    return [chord.label for chord in chords]


@pytest.mark.parametrize(("quality", "bass"), KINDS)
def test_labels_mean_what_mir_eval_takes_them_for(quality: str, bass: int) -> None:
    """The notes of every label of every vocabulary are those of the published reader."""
    label = harte.named(9, quality, bass)
    root, bitmap, low = mir_eval.chord.encode(str(label))
    notes = {(root + step) % 12 for step in range(12) if bitmap[step]}
    assert root == label.root
    assert low == bass
    ninth = {(root + 2) % 12} if "9" in quality else set()  # which that reader leaves out
    assert notes | ninth == label.classes


@given(labels)
def test_a_label_reads_as_it_was_written(label: str) -> None:
    """Reading and writing gives the same."""
    assert str(harte.parse(label)) == label


@pytest.mark.parametrize("text", ["", "H", "C:", "c:maj", "C/x", "Cmaj7"])
def test_what_is_no_label_is_refused(text: str) -> None:
    """Anything else is an error that says what labels look like."""
    with pytest.raises(harte.LabelUnreadable, match="C:maj7/3"):
        harte.parse(text)


@given(songs, some.integers(-12, 12))
def test_moving_there_and_back_is_moving_nowhere(chords: list[Chord], semitones: int) -> None:
    """Transposing by n and by -n leaves every chord's notes; an octave leaves them too."""
    there = chord_editing.transposed(chords, semitones)
    back = chord_editing.transposed(there, -semitones)
    notes = [harte.parse(chord.label).classes for chord in chords]
    assert [harte.parse(chord.label).classes for chord in back] == notes


@pytest.mark.parametrize(
    ("key", "semitones", "expected"),
    [
        ("Eb major", 3, ["Eb:maj", "Ab:maj", "Bb:7"]),
        ("E major", 4, ["E:maj", "A:maj", "B:7"]),
        ("Db major", 1, ["Db:maj", "Gb:maj", "Ab:7"]),
        ("F# major", 6, ["F#:maj", "B:maj", "C#:7"]),
    ],
)
def test_moved_chords_are_spelt_as_their_key(key: str, semitones: int, expected: list[str]) -> None:
    """I IV V7 of C, moved, has the signs of the key it stands in then."""
    found = chord_editing.transposed(song(("C:maj", 1), ("F:maj", 1), ("G:7", 1)), semitones, key)
    assert names(found) == expected


@given(songs, some.floats(0.0, 2.0))
def test_dropping_short_chords_leaves_no_hole(chords: list[Chord], least: float) -> None:
    """What stays is long enough, covers the same time, and is all there when all are long."""
    found = chord_editing.without_short(chords, least)
    assert found[0].start_seconds == chords[0].start_seconds
    assert found[-1].end_seconds == chords[-1].end_seconds
    assert all(one.end_seconds == two.start_seconds for one, two in pairwise(found))
    assert len(found) == 1 or all(chord.seconds >= least for chord in found)


def test_twenty_thousand_chords_are_worked_on_at_once() -> None:
    """The most that a request may bring is done in one go, without quadratic cost."""
    chords = song(*[("C:maj" if n % 2 else "G:7", 0.01 + n % 7 / 50) for n in range(20_000)])
    found = chord_orders.edited(chords, Editing(simplify=True), "C major")
    assert 1 < len(found.chords) < 20_000


@given(songs)
def test_merging_leaves_no_equal_neighbours(chords: list[Chord]) -> None:
    """No two neighbours are alike, and all seconds are still there."""
    found = chord_editing.merged(chords)
    assert all(one.label != two.label for one, two in pairwise(found))
    assert sum(c.seconds for c in found) == pytest.approx(sum(c.seconds for c in chords))


def test_chords_simplify_to_five_types() -> None:
    """Every label becomes major, minor, augmented, diminished or suspended."""
    found = chord_editing.simplified(song(*[(str(harte.named(2, *kind)), 1.0) for kind in KINDS]))
    kinds = {name.removeprefix("D:") for name in names(found)}
    assert kinds == {"maj", "min", "aug", "dim", "sus4"}


def test_chords_move_to_beats() -> None:
    """Edges fall on beats, and where there is no chord the one before goes on."""
    chords = song(("C:maj", 1.1), ("N", 0.8), ("G:maj", 2.2))
    found = chord_editing.beat_synchronous(chords, [0.0, 1.0, 2.0, 3.0, 4.0])
    assert [(c.start_seconds, c.label, c.beat_index) for c in found] == [
        (0.0, "C:maj", 0),
        (2.0, "G:maj", 2),
    ]


@pytest.mark.parametrize(
    ("label", "key", "expected"),
    [
        ("G:7", "C major", "V7"),
        ("A:min", "C major", "vi"),
        ("A:7", "C major", "V7/ii"),
        ("B:hdim7", "C major", "viiø7"),
        ("Ab:maj", "C major", "bVI"),
        ("E:7", "A minor", "V7"),
        ("F:maj", "A minor", "VI"),
        ("G#:dim7", "A minor", "vii°7"),
        ("N", "A minor", ""),
        ("C:maj", "", ""),
    ],
)
def test_numerals(label: str, key: str, expected: str) -> None:
    """Chords are numbered against their key."""
    assert roman.numeral(label, key) == expected


def test_a_capo_brings_open_chords() -> None:
    """Eb, C minor and Bb are fingered as C, A minor and G at the third fret, or one higher."""
    chords = song(("Eb:maj", 2), ("C:min", 1), ("Bb:maj", 1))
    best = chord_editing.capo_advice(chords, "Eb major")[0]
    assert (best.fret, best.key) in {(3, "C major"), (1, "D major")}
    assert best.open_share == pytest.approx(1.0)
    assert chord_editing.statistics(chords).label_seconds["Eb:maj"] == 2.0


def test_richer_harmony_is_more_complex() -> None:
    """One triad is 0; triads are less than sevenths with chords from outside the key."""
    one = chord_editing.complexity(song(("C:maj", 10)), "C major")
    plain = chord_editing.complexity(song(("C:maj", 2), ("F:maj", 2), ("G:maj", 2)), "C major")
    rich = song(("C:maj7", 1), ("Eb:7", 1), ("Ab:maj7", 1), ("Db:9", 1), ("F:min7", 1))
    assert one < plain < chord_editing.complexity(rich, "C major") <= 10.0


@given(songs)
def test_lab_text_reads_as_it_was_written(chords: list[Chord]) -> None:
    """LAB text keeps labels, and times to a microsecond."""
    found = chord_orders.from_lab(chord_orders.to_lab(chords))
    assert names(found) == names(chords)
    assert [c.start_seconds for c in found] == pytest.approx(
        [c.start_seconds for c in chords], abs=1e-6
    )


@pytest.mark.parametrize("line", ["0 1", "0 1 Cmaj", "2 1 C:maj", "nan 1 C:maj", "0 1 C:maj more"])
def test_a_line_that_is_no_chord_is_named(line: str) -> None:
    """The error names the line."""
    with pytest.raises(ChordsUnparsable, match="Line 2"):
        chord_orders.from_lab(f"0 1 C:maj\n{line}\n")


def test_the_key_is_found_from_chords() -> None:
    """I vi ii V is in the key of I."""
    chords = song(("Bb:maj", 1), ("G:min", 1), ("C:min7", 1), ("F:7", 1), ("Bb:maj", 1))
    assert chord_orders.key_of(chords) == "Bb major"
