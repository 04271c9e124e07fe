"""Chords, from the notes that sound and when they begin."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from chorale_analysis import harte, onsets
from chorale_analysis.chord_decoder import Cut, Evidence, Floats, Model, decode, worth
from chorale_analysis.chroma import HOPS_PER_SECOND
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
_KEY_WEIGHT, _KEY_SECONDS = 0.05, 20.0
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
    model = _model(labels)
    evidence = _evidence(pitches, heard, labels)
    cuts = _joined(decode(evidence, model))
    scores = [worth(evidence, model, cut) / _SHARPNESS for cut in cuts]
    tonal = _tonal(cuts, scores)
    told = _Telling([*labels, harte.Label(-1, harte.NONE)], tonal, settings.alternative_count)
    edges = [*(max(0.0, (cut.first - 0.5) / HOPS_PER_SECOND) for cut in cuts), duration_seconds]
    chords = tuple(
        told.chord(cut, score, evidence, min(start, duration_seconds), min(end, duration_seconds))
        for cut, score, (start, end) in zip(cuts, scores, pairwise(edges), strict=True)
    )
    return Harmony(chords, settings.vocabulary)


def chord_labels(vocabulary: str) -> list[harte.Label]:
    """Every chord of a vocabulary; that there may be none goes without saying."""
    kinds = VOCABULARIES[vocabulary]
    return [harte.named(root, quality, bass) for quality, bass in kinds for root in range(12)]


def _model(labels: list[harte.Label]) -> Model:
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
    notes = pitches.notes.astype(np.float64) ** _COMPRESSION
    midi = np.arange(LOWEST_NOTE, LOWEST_NOTE + NOTE_COUNT)
    treble = _folded(notes, np.clip((midi - 36) / 14.0, 0.0, 1.0) * np.clip((94 - midi) / 10, 0, 1))
    bass = _folded(notes, np.clip((60 - midi) / 8.0, 0.0, 1.0))
    loud = float(np.percentile(pitches.level, 95)) + 1e-12
    level_db = 20.0 * np.log10(np.maximum(pitches.level / loud, 1e-9))
    return Evidence(
        treble=treble,
        bass=bass,
        silence=np.where(level_db < _SILENCE_DB, _SILENCE_WORTH, 0.0),
        beginning=_beginning(heard, len(notes)),
        expected=_expected(pitches, labels),
    )


def _folded(notes: Floats, weights: Floats) -> Floats:
    """Notes as pitch classes; every hop of length 1 or, where faint, less."""
    classes = np.zeros((len(notes), 12))
    for number, weight in enumerate(weights):
        classes[:, (LOWEST_NOTE + number) % 12] += weight * notes[:, number]
    length = np.linalg.norm(classes, axis=1, keepdims=True)
    folded: Floats = classes / (length + 0.2 * np.median(length) + 1e-9)
    return folded


def _beginning(heard: Onsets, hop_count: int) -> Floats:
    """Chords begin where something begins."""
    edges = (np.arange(hop_count + 1) - 0.5) / HOPS_PER_SECOND * onsets.HOPS_PER_SECOND
    near = maximum_filter1d(heard.strength, 9)
    strength = np.interp(edges, np.arange(len(near)), near) - _ONSET_USUAL
    beginning: Floats = _ONSET_WEIGHT * np.clip(strength, -_ONSET_RANGE, _ONSET_RANGE)
    return beginning


def _expected(pitches: Pitches, labels: list[harte.Label]) -> Floats:
    """What a key leads one to expect, less what rare chords must overcome."""
    classes = pitches.chroma.classes
    around = uniform_filter1d(
        classes, max(1, round(_KEY_SECONDS * HOPS_PER_SECOND)), axis=0, mode="nearest"
    )
    fits = np.zeros((24, len(labels)))
    for key in range(24):
        degrees = _MAJOR if key < 12 else _MINOR
        for number, label in enumerate(labels):
            degree = (label.root - key) % 12
            fits[key, number] = label.quality in degrees.get(degree, "").split()
    rare = [_RARE.get(label.quality, 0.0) + _INVERSION_COST * (label.bass > 0) for label in labels]
    expected = _KEY_WEIGHT * (chances_of(around) @ fits) - np.array(rare)
    return np.ascontiguousarray(_SHARPNESS * expected)


def _joined(cuts: list[Cut]) -> list[Cut]:
    """Equal neighbours as one."""
    joined: list[Cut] = []
    for cut in cuts:
        if joined and joined[-1].chord == cut.chord:
            joined[-1] = Cut(joined[-1].first, cut.last, cut.chord)
        else:
            joined.append(cut)
    return joined


def _tonal(cuts: list[Cut], scores: list[Floats]) -> float:
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
class _Telling:
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


def _triad(label: harte.Label) -> tuple[int, int]:
    return label.root, label.intervals[1] if label.is_chord else 0


def _lowest(bass: npt.NDArray[np.float64], chord: harte.Label) -> str:
    """The strongest low note of a chord's own, where there is a chord."""
    if not chord.is_chord:
        return ""
    strength = bass.sum(axis=0)
    own = sorted(chord.classes)
    return harte.note(own[int(np.argmax(strength[own]))])
