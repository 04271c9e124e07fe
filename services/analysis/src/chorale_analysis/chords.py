"""Chords, from the notes that sound and when they begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from chorale_analysis import harte, onsets
from chorale_analysis.chord_decoder import Cut, Evidence, Floats, Model, decode, worth
from chorale_analysis.chroma import HOPS_PER_SECOND, harmonic
from chorale_analysis.harmony import VOCABULARIES, Alternative, Chord, ChordSettings, Harmony
from chorale_analysis.key import chances_of
from chorale_analysis.onsets import Onsets
from chorale_analysis.pitches import LOWEST_NOTE, NOTE_COUNT, Pitches

# Chosen on the annotated material where the result stays the same over a wide range around them.
_SHARPNESS = 18.0  # nats per hop that a full likeness is worth
_BASS_WEIGHT = 0.35  # against the treble
_THIRD_IN_BASS, _FIFTH_IN_BASS = 0.3, 0.2  # against the root
_COMPRESSION = 0.5  # power of note strengths: soft notes count
_NONE = 0.9  # what noise and drums are like some chord: .78 to .87; music is from 1.04 up
_KEY_WEIGHT, KEY_SECONDS = 0.05, 20.0
ONSET_HOPS = 9  # around an edge in which an onset may lie
_ONSET_WEIGHT, _ONSET_USUAL, _ONSET_RANGE = 2.0, 1.5, 1.5
_LONGEST_SECONDS = 6.0  # longer chords are cut and made one again
_SHORT_HOPS, _SHORT_COST = 4, 1.5  # a chord of fewer hops is seldom meant
_SILENCE_DB, _SILENCE_WORTH = -45.0, 90.0

# How rare a quality is, as likeness that it must have over a triad.
_RARE = {
    "dim": 0.2, "aug": 0.5, "sus4": 0.24, "sus2": 0.3, "7": 0.06, "maj7": 0.1, "min7": 0.06,
    "maj6": 0.3, "min6": 0.3, "dim7": 0.24, "hdim7": 0.16, "minmaj7": 0.5, "9": 0.2, "maj9": 0.24,
    "min9": 0.24, "sus4(b7)": 0.24,
}  # fmt: skip
_INVERSION_COST = 0.06

# The degrees of a major and a minor key, and what is built on them.
_MAJOR = {
    0: "maj maj7 maj6 sus4 sus2 maj9", 2: "min min7 min9 sus4 7", 4: "min min7",
    5: "maj maj7 maj6 sus2 min6 maj9", 7: "maj 7 9 sus4 sus2 sus4(b7)", 9: "min min7 sus4 min9",
    11: "dim hdim7 dim7",
}  # fmt: skip
_MINOR = {
    0: "min min7 minmaj7 sus4 sus2 min6 min9", 2: "dim hdim7 dim7", 3: "maj maj7 aug maj6",
    5: "min min7 min6 min9", 7: "maj 7 9 min min7 sus4 sus4(b7)", 8: "maj maj7", 10: "maj 7",
    11: "dim dim7",
}  # fmt: skip

# How often a chord's triad is right, by how far it leads those with another root or third and how
# like it the sound is: fitted by time on the annotated material, expected calibration error .01.
_LEAD_SLOPE, _LIKENESS_SLOPE, _ODDS = 5.2, 3.6, -3.45
_LIKENESS_OF_NOISE, _LIKENESS_OF_MUSIC = 0.88, 1.0  # of all chords, by time
_LIKELY_SLOPE = 12.0  # of the alternatives among each other


def recognize(
    pitches: Pitches, heard: Onsets, duration_seconds: float, settings: ChordSettings
) -> Harmony:
    """Finds the chords of what was heard; `N` where there is none."""
    labels = chord_labels(settings.vocabulary)
    model = model_of(labels)
    evidence = _evidence(pitches, heard, labels)
    cuts = joined(decode(evidence, model))
    is_harmonic = harmonic(pitches.chroma)
    if not is_harmonic:
        cuts = [Cut(0, len(evidence.treble), -1)] if cuts else []
    scores = [likeness(evidence, model, cut) for cut in cuts]
    tonal = tonality_of(cuts, scores) * is_harmonic
    told = Telling([*labels, harte.Label(-1, harte.NONE)], tonal, settings.alternative_count)
    edges = [*(max(0.0, (cut.first - 0.5) / HOPS_PER_SECOND) for cut in cuts), duration_seconds]
    chords = tuple(
        told.chord(cut, score, evidence, min(start, duration_seconds), min(end, duration_seconds))
        for cut, score, (start, end) in zip(cuts, scores, pairwise(edges), strict=True)
    )
    return Harmony(chords, settings.vocabulary)


def likeness(evidence: Evidence, model: Model, cut: Cut) -> Floats:
    """How like each chord, and at last no chord, a cut sounds."""
    return worth(evidence, model, cut) / _SHARPNESS


def chord_labels(vocabulary: str) -> list[harte.Label]:
    """Every chord of a vocabulary; that there may be none goes without saying."""
    kinds = VOCABULARIES[vocabulary]
    return [harte.named(root, quality, bass) for quality, bass in kinds for root in range(12)]


def model_of(labels: list[harte.Label]) -> Model:
    """What these chords are made of, in nats."""
    treble, bass = np.zeros((len(labels), 12)), np.zeros((len(labels), 12))
    for number, label in enumerate(labels):
        steps = label.intervals
        treble[number, [(label.root + step) % 12 for step in steps]] = 1.0 / np.sqrt(len(steps))
        lowest = (label.root + label.bass) % 12
        if not label.bass:
            bass[number, (label.root + steps[1]) % 12] = _THIRD_IN_BASS
            bass[number, (label.root + 7) % 12] = _FIFTH_IN_BASS
        bass[number, lowest] = 1.0
    hops = np.arange(1, round(_LONGEST_SECONDS * HOPS_PER_SECOND) + 1)
    duration = -_SHORT_COST * np.maximum(0.0, _SHORT_HOPS - hops)
    return Model(
        _SHARPNESS * treble, _SHARPNESS * _BASS_WEIGHT * bass, _SHARPNESS * _NONE, duration
    )


def _evidence(pitches: Pitches, heard: Onsets, labels: list[harte.Label]) -> Evidence:
    treble, bass = voices(pitches.notes)
    loud = float(np.percentile(pitches.level, 95)) + 1e-12
    around = uniform_filter1d(
        pitches.chroma.classes,
        max(1, round(KEY_SECONDS * HOPS_PER_SECOND)),
        axis=0,
        mode="nearest",
    )
    return Evidence(
        treble=evened(treble, float(np.median(lengths(treble)))),
        bass=evened(bass, float(np.median(lengths(bass)))),
        silence=silence(pitches.level, loud),
        beginning=_beginning(heard, len(treble)),
        expected=expected(around, fits_of(labels), costs_of(labels)),
    )


def voices(notes: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Notes as pitch classes of the treble and of the bass: `(hops, 12)` each."""
    softer = notes.astype(np.float64) ** _COMPRESSION
    midi = np.arange(LOWEST_NOTE, LOWEST_NOTE + NOTE_COUNT)
    high = np.clip((midi - 36) / 14.0, 0.0, 1.0) * np.clip((94 - midi) / 10, 0, 1)
    return _folded(softer, high), _folded(softer, np.clip((60 - midi) / 8.0, 0.0, 1.0))


def lengths(classes: Floats) -> Floats:
    """How long each hop's pitch classes are."""
    found: Floats = np.linalg.norm(classes, axis=1, keepdims=True)
    return found


def evened(classes: Floats, usual: float) -> Floats:
    """Every hop of length 1 or, where it is far shorter than usual, less."""
    even: Floats = classes / (lengths(classes) + 0.2 * usual + 1e-9)
    return even


def silence(level: Floats, loud: float) -> Floats:
    """What speaks for no chord where it is far softer than elsewhere."""
    level_db = 20.0 * np.log10(np.maximum(level / loud, 1e-9))
    return np.where(level_db < _SILENCE_DB, _SILENCE_WORTH, 0.0)


def _folded(notes: Floats, weights: Floats) -> Floats:
    """Notes as pitch classes."""
    folds = np.zeros((NOTE_COUNT, 12))
    folds[np.arange(NOTE_COUNT), (LOWEST_NOTE + np.arange(NOTE_COUNT)) % 12] = weights
    classes: Floats = notes @ folds
    return classes


def _beginning(heard: Onsets, hop_count: int) -> Floats:
    """Chords begin where something begins."""
    edges = (np.arange(hop_count + 1) - 0.5) / HOPS_PER_SECOND * onsets.HOPS_PER_SECOND
    near = maximum_filter1d(heard.strength, ONSET_HOPS)
    return beginning(np.interp(edges, np.arange(len(near)), near))


def beginning(strength: Floats) -> Floats:
    """What speaks for a chord to begin where something begins so strongly."""
    found: Floats = _ONSET_WEIGHT * np.clip(strength - _ONSET_USUAL, -_ONSET_RANGE, _ONSET_RANGE)
    return found


def fits_of(labels: list[harte.Label]) -> Floats:
    """Which chord belongs to which of 24 keys: `(24, chords)`."""
    fits = np.zeros((24, len(labels)))
    for key in range(24):
        degrees = _MAJOR if key < 12 else _MINOR
        for number, label in enumerate(labels):
            degree = (label.root - key) % 12
            fits[key, number] = label.quality in degrees.get(degree, "").split()
    return fits


def costs_of(labels: list[harte.Label]) -> Floats:
    """What rare chords must overcome."""
    return np.array(
        [_RARE.get(label.quality, 0.0) + _INVERSION_COST * (label.bass > 0) for label in labels]
    )


def expected(around: Floats, fits: Floats, costs: Floats) -> Floats:
    """What the key around each hop leads one to expect, less what rare chords must overcome."""
    found = _KEY_WEIGHT * (chances_of(around) @ fits) - costs
    return np.ascontiguousarray(_SHARPNESS * found)


def joined(cuts: Sequence[Cut]) -> list[Cut]:
    """Equal neighbours as one."""
    found: list[Cut] = []
    for cut in cuts:
        if found and found[-1].chord == cut.chord:
            found[-1] = Cut(found[-1].first, cut.last, cut.chord)
        else:
            found.append(cut)
    return found


def tonality_of(cuts: Sequence[Cut], scores: list[Floats]) -> float:
    """How surely chords are heard at all and not noise or drums, in [0, 1]."""
    heard = [(cut.last - cut.first, score[cut.chord])
             for cut, score in zip(cuts, scores, strict=True) if cut.chord >= 0]  # fmt: skip
    if not heard:
        return 0.0
    hops, likeness = zip(*heard, strict=True)
    mean = float(np.average(likeness, weights=hops))
    rise = (mean - _LIKENESS_OF_NOISE) / (_LIKENESS_OF_MUSIC - _LIKENESS_OF_NOISE)
    return float(np.clip(rise, 0.0, 1.0))


@dataclass(frozen=True)
class Telling:
    """What is said of a chord, given what was heard of all."""

    names: list[harte.Label]
    tonal: float
    alternative_count: int

    def chord(
        self, cut: Cut, scores: Floats, evidence: Evidence, start: float, end: float
    ) -> Chord:
        """One chord with how sure it is and what else it might be."""
        chosen = self.names[cut.chord]
        sure = self._sure(scores, cut.chord)
        order = [int(n) for n in np.argsort(-scores) if self.names[n] != chosen]
        likely = np.exp(_LIKELY_SLOPE * (scores[order] - scores[order[0]]))
        likely *= (1.0 - sure) / likely.sum()
        others = list(zip(order, likely, strict=True))[: self.alternative_count]
        return Chord(
            start_seconds=start,
            end_seconds=end,
            label=str(chosen),
            confidence=sure,
            alternatives=tuple(
                Alternative(str(name), float(chance), harte.distance(name, chosen))
                for number, chance in others
                for name in [self.names[number]]
            ),
            bass=_lowest(evidence.bass[cut.first : cut.last], chosen),
        )

    def _sure(self, scores: Floats, chosen: int) -> float:
        """How surely it is this root and third."""
        kinds = [_triad(name) for name in self.names]
        others = [s for s, kind in zip(scores, kinds, strict=True) if kind != kinds[chosen]]
        lead = float(scores[chosen]) - float(max(others))
        odds = _LEAD_SLOPE * lead + _LIKENESS_SLOPE * float(min(scores[chosen], 2.0)) + _ODDS
        sure = float(1.0 / (1.0 + np.exp(-min(odds, 50.0))))
        return sure * self.tonal if self.names[chosen].is_chord else sure


@cache
def _triad(label: harte.Label) -> tuple[int, int]:
    return label.root, label.intervals[1] if label.is_chord else 0


def _lowest(bass: npt.NDArray[np.float64], chord: harte.Label) -> str:
    """The strongest low note of a chord's own, where there is a chord."""
    if not chord.is_chord:
        return ""
    strength = bass.sum(axis=0)
    own = sorted(chord.classes)
    return harte.note(own[int(np.argmax(strength[own]))])
