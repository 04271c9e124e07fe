"""Chords while they play: the segmental decoder, one hop at a time."""

from dataclasses import replace

import numpy as np

from chorale_analysis import chords, harte, onsets, tonality
from chorale_analysis.chord_decoder import Cut
from chorale_analysis.chroma import HOPS_PER_SECOND
from chorale_analysis.harmony import MINIMUM_SECONDS, Chord, ChordSettings
from chorale_analysis.live.notes import Evidence, NoteListener
from chorale_analysis.live.path import Path
from chorale_analysis.onsets import Floats
from chorale_analysis.spectra import Array
from chorale_analysis.tonality import Region, Tonality

HELD_HOPS = 65  # 6 s: as long as one chord may be before it is cut, and then made one again
_TONAL_CUTS = 16  # whether there are chords at all is judged by the last so many
_ONSETS_KEPT = 400
_SURE_OF_KEY = 4.0  # a key so surely found, over 1, makes chords as sure as they are
_TOLD_CHORDS = 16  # decided ones that can reach into what is told


class Changes:
    """Follows chords: decided for good after some seconds, told before."""

    def __init__(self, settings: ChordSettings) -> None:
        self._settings = settings
        self._names = chords.chord_labels(settings.vocabulary)
        self._ears = NoteListener(chords.fits_of(self._names), chords.costs_of(self._names))
        self._path = Path(chords.model_of(self._names))
        self._strength, self._strength_end = np.zeros(0), 0  # of the last hops of onsets
        self._decided: list[Chord] = []
        self._decided_hops = 0
        self._seemed: dict[Cut, Chord] = {}
        self._seemed_at = -1
        self._recent: list[tuple[Cut, Floats]] = []

    @property
    def decided_seconds(self) -> float:
        """Up to where chords are decided for good."""
        return max(0.0, (self._decided_hops - 0.5) / HOPS_PER_SECOND)

    def key(self, duration_seconds: float) -> Tonality:
        """The key so far; none of what is too short to have one."""
        if duration_seconds < tonality.MINIMUM_SECONDS:
            return Tonality("", 0.0, (), (), 0.0)
        found = self._ears.key.find()
        whole = Region(0.0, duration_seconds, found.key, found.confidence)
        return replace(found, regions=(whole,) if found.key else ())

    def push(self, block: Array, strength: Floats) -> None:
        """Listens to the next mono block, and to the strength of onsets that it completed."""
        self._strength = np.concatenate([self._strength, strength])[-_ONSETS_KEPT:]
        self._strength_end += len(strength)
        for evidence in self._ears.push(block):
            self._hear(evidence)

    def finish(self, duration_seconds: float) -> list[Chord]:
        """All chords, the last ones decided by what there is."""
        for evidence in self._ears.finish():
            self._hear(evidence)
        self._decide(self._path.hop_count)
        if duration_seconds < MINIMUM_SECONDS:
            return [Chord(0.0, duration_seconds, harte.NONE)]
        if self._decided:
            self._decided[-1] = replace(self._decided[-1], end_seconds=duration_seconds)
        return self._decided

    def told(self, first_seconds: float, last_seconds: float) -> list[Chord]:
        """The chords that sound between two moments as they seem now, each from its beginning."""
        known = self._decided[-_TOLD_CHORDS:]
        for chord in self._seeming():
            _join(known, chord)
        if known and known[-1].end_seconds < last_seconds:
            known[-1] = replace(known[-1], end_seconds=last_seconds)
        return [
            one
            for one in known
            if one.end_seconds > first_seconds and one.start_seconds < last_seconds
        ]

    def _hear(self, evidence: Evidence) -> None:
        edge = (self._path.hop_count - 0.5) / HOPS_PER_SECOND * onsets.HOPS_PER_SECOND
        self._path.advance(evidence, float(chords.beginning(self._onset(edge))))
        self._decide(self._path.hop_count - HELD_HOPS)

    def _onset(self, edge: float) -> Floats:
        """How strongly anything begins around an edge, in hops of onsets."""
        at = round(edge) - (self._strength_end - len(self._strength))
        around = self._strength[max(0, at - chords.ONSET_HOPS // 2) :][: chords.ONSET_HOPS]
        return np.asarray(around.max(initial=-4.0))

    def _decide(self, until_hop: int) -> None:
        """Decides for good the chords that end before a hop."""
        cuts = [cut for cut in self._undecided(until_hop) if cut.last <= until_hop]
        for cut, chord in zip(cuts, self._chords(cuts), strict=True):
            _join(self._decided, chord)
            self._recent.append((cut, self._path.likeness(cut)))
            self._decided_hops = cut.last
        self._recent = self._recent[-_TONAL_CUTS:]

    def _undecided(self, until_hop: int) -> list[Cut]:
        """The likeliest cuts from what is decided on that begin before a hop."""
        return [
            replace(cut, first=max(cut.first, self._decided_hops))
            for cut in self._path.cuts(self._decided_hops)
            if cut.first < until_hop
        ]

    def _seeming(self) -> list[Chord]:
        """Chords that may yet change; what was worked out for the same cut is told again."""
        if self._seemed_at != self._path.hop_count:
            cuts = chords.joined(self._undecided(self._path.hop_count))
            new = [cut for cut in cuts if cut not in self._seemed]
            worked_out = dict(zip(new, self._chords(new), strict=True))
            self._seemed = {cut: worked_out.get(cut) or self._seemed[cut] for cut in cuts}
            self._seemed_at = self._path.hop_count
        return list(self._seemed.values())

    def _chords(self, cuts: list[Cut]) -> list[Chord]:
        if not cuts:
            return []
        tonic = self._ears.key.find().confidence
        if tonic <= 0.0:  # nothing tonal sounds: what is likened to chords is none
            cuts = [replace(cut, chord=-1) for cut in cuts]
        scores = [self._path.likeness(cut) for cut in cuts]
        seen = [*self._recent, *zip(cuts, scores, strict=True)][-_TONAL_CUTS:]
        tonal = chords.tonality_of([cut for cut, _ in seen], [score for _, score in seen])
        names = [*self._names, harte.Label(-1, harte.NONE)]
        tonal *= min(1.0, _SURE_OF_KEY * tonic)
        telling = chords.Telling(names, tonal, self._settings.alternative_count)
        return [
            telling.chord(
                replace(cut, first=cut.first - self._path.base, last=cut.last - self._path.base),
                score,
                self._path.evidence,
                max(0.0, (cut.first - 0.5) / HOPS_PER_SECOND),
                max(0.0, (cut.last - 0.5) / HOPS_PER_SECOND),
            )
            for cut, score in zip(cuts, scores, strict=True)
        ]


def _join(known: list[Chord], chord: Chord) -> None:
    """Appends a chord; lengthens the last one when it goes on."""
    if not known or known[-1].label != chord.label:
        known.append(chord)
        return
    last = known[-1]
    share = chord.seconds / max(1e-9, last.seconds + chord.seconds)
    sure = (1.0 - share) * last.confidence + share * chord.confidence
    known[-1] = replace(last, end_seconds=chord.end_seconds, confidence=sure)
