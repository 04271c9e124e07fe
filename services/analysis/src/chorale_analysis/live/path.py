"""The likeliest chords up to now, over a window that moves along."""

from typing import Any

import numpy as np

from chorale_analysis import chord_decoder, chords
from chorale_analysis.chord_decoder import Cut, Floats, Model
from chorale_analysis.live.notes import Evidence

_ROOM_HOPS, _KEPT_HOPS = 512, 200  # what is remembered grows from one to the other, then moves


class Path:
    """Every hop's likeliest last chord; hops are counted from the beginning of the sound."""

    def __init__(self, model: Model) -> None:
        room, count = _ROOM_HOPS, len(model.treble)
        self._model = model
        self.base = 0  # the hop at which the window begins
        self._filled = 0
        self._heard = np.zeros((room, 25))
        self._total = np.zeros((room + 1, 25))
        self._expected = np.zeros((room, count))
        self._beginning = np.zeros(room + 1)
        self._best = np.full(room + 1, -np.inf)
        self._best[0] = 0.0
        self._begun = np.zeros(room + 1, np.int64)
        self._chosen = np.full(room + 1, -1)

    @property
    def hop_count(self) -> int:
        """How many hops were heard."""
        return self.base + self._filled

    @property
    def evidence(self) -> chord_decoder.Evidence:
        """What speaks for each chord within the window."""
        heard = self._heard[: self._filled]
        return chord_decoder.Evidence(
            treble=heard[:, :12],
            bass=heard[:, 12:24],
            silence=heard[:, 24],
            beginning=self._beginning[: self._filled + 1],
            expected=self._expected[: self._filled],
        )

    def advance(self, evidence: Evidence, beginning: float) -> None:
        """Goes on by one hop, before which a chord may begin so easily."""
        if self._filled == _ROOM_HOPS:
            self._move()
        at = self._filled
        self._heard[at, :12], self._heard[at, 12:24] = evidence.treble, evidence.bass
        self._heard[at, 24] = evidence.silence
        self._total[at + 1] = self._total[at] + self._heard[at]
        self._expected[at], self._beginning[at] = evidence.expected, beginning
        self._best[at + 1] = -np.inf
        model = self._model
        chord_decoder.end_at(
            at + 1,
            self._total,
            model.treble,
            model.bass,
            self._expected,
            self._beginning,
            model.duration,
            model.none,
            self._best,
            self._begun,
            self._chosen,
        )
        self._filled += 1

    def cuts(self, from_hop: int) -> list[Cut]:
        """The likeliest chords that end after a hop, in order."""
        found = []
        last = self._filled
        while last > max(0, from_hop - self.base):
            first = int(self._begun[last])
            found.append(Cut(self.base + first, self.base + last, int(self._chosen[last])))
            last = first
        return found[::-1]

    def likeness(self, cut: Cut) -> Floats:
        """How like each chord, and at last no chord, a cut sounds."""
        within = Cut(cut.first - self.base, cut.last - self.base, cut.chord)
        return chords.likeness(self.evidence, self._model, within)

    def _move(self) -> None:
        """Forgets what is long past."""
        gone = _ROOM_HOPS - _KEPT_HOPS
        lines: list[Any] = [self._heard, self._expected, self._total, self._beginning]
        for line in (*lines, self._best, self._begun, self._chosen):
            line[: len(line) - gone] = line[gone:].copy()
        self._begun[: _KEPT_HOPS + 1] = np.maximum(0, self._begun[: _KEPT_HOPS + 1] - gone)
        self._total[: _KEPT_HOPS + 1] -= self._total[0].copy()
        self._best[: _KEPT_HOPS + 1] -= self._best[0]
        self.base += gone
        self._filled = _KEPT_HOPS
