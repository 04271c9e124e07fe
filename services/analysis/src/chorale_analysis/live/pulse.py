"""Beats and tempo while it plays: decided for good after some seconds, told before."""

import math
from dataclasses import dataclass

import numpy as np

from chorale_analysis import beats as offline
from chorale_analysis.choosing import share
from chorale_analysis.live.pointer import Pointer, periods_between
from chorale_analysis.live.strength import Strength
from chorale_analysis.onsets import HOPS_PER_SECOND, Floats
from chorale_analysis.rhythm import NO_RHYTHM, Beat, Rhythm, RhythmSettings
from chorale_analysis.state_space import Integers, loudest

HELD_HOPS = 600  # after so many a beat is decided for good: by then all ways here share it
_STEP_HOPS = 25  # how often that is looked at, and whether there is a pulse at all
_KEPT_HOPS = 1200  # what is remembered
_JUDGED_HOPS = 1000  # whether there is a pulse is judged by the last 10 s
# So often in a row must the last 10 s have a pulse before beats are told, or lack it before they
# are not: noise, looked at often enough, has one at times.
_TO_OPEN, _TO_CLOSE, _DOUBT = 6, 8, 0.35
_LEAST_BEATS = 4
_TEMPO_BEATS = 9  # whose intervals make the tempo told

# How often a beat is right by how much it sounds, and the tempo by how much its beats do and by the
# octaves that it lies over 100 BPM, in nats: learned by tools/learn_live.py from 167
# pieces, every kind of music counting alike. Kinds held out, calibration errors are .05 and .07.
_BEAT_SOUNDS, _BEAT_ODDS = 1.90, -0.07
_TEMPO_SOUNDS, _TEMPO_OCTAVE, _TEMPO_ODDS, _TEMPO_BPM = 1.38, -1.49, -0.15, 100.0


@dataclass(frozen=True)
class Told:
    """The beats of a stretch, and the tempo at its end; 0 while there is none."""

    beats: tuple[Beat, ...]
    bpm: float


@dataclass(frozen=True)
class _Struck:
    seconds: float
    raw: float
    sounds: float  # how much, in [0, 1]


class Pulse:
    """Follows a pulse; none where nothing recurs."""

    def __init__(self, settings: RhythmSettings) -> None:
        periods = periods_between(settings.bpm_min, settings.bpm_max, HOPS_PER_SECOND)
        prior = offline.tempo_prior(periods, settings.bpm_hint)
        self._pointer = Pointer(periods, prior, settings.transition_lambda, _KEPT_HOPS)
        self._strength, self._raw = np.zeros(0), np.zeros(0)  # of the last hops
        self._in_row = 0
        self.is_open = False  # whether there is a pulse
        self._decided_hops, self._decided = 0, list[_Struck]()
        self._loudest = 1e-9

    @property
    def hop_count(self) -> int:
        """How many hops were heard."""
        return self._pointer.hop_count

    @property
    def decided_seconds(self) -> float:
        """Up to where beats are decided for good."""
        return self._decided_hops / HOPS_PER_SECOND

    @property
    def sounds(self) -> list[float]:
        """How much each beat sounds that is decided for good, in [0, 1]."""
        return [one.sounds for one in self._decided]

    def push(self, heard: Strength) -> None:
        """Listens on. Decisions fall at the same hops in whatever pieces it comes."""
        first = 0
        while first < len(heard.raw):
            last = min(len(heard.raw), first + _STEP_HOPS - self.hop_count % _STEP_HOPS)
            self._advance(heard.standing_out[first:last], heard.raw[first:last])
            if not self.hop_count % _STEP_HOPS:
                self._judge()
                self._decide(self.hop_count - HELD_HOPS)
            first = last

    def finish(self, duration_seconds: float) -> Rhythm:
        """All beats, the last ones decided by what there is."""
        if self.hop_count % _STEP_HOPS:
            self._judge()
        self._decide(self.hop_count)
        struck = [one for one in self._decided if one.seconds <= duration_seconds]
        if len(struck) < 3:
            return NO_RHYTHM
        intervals = np.diff([one.seconds for one in struck])
        median = float(np.median(intervals))
        sounds = float(np.mean(self.sounds[: len(struck)]))
        return Rhythm(
            beats=self._told(struck),
            bpm=60.0 / median,
            bpm_confidence=_tempo_confidence(sounds, 60.0 / median),
            stability=float(np.clip(1.0 - intervals.std() / median, 0.0, 1.0)),
            candidates=tuple(offline.tempo_candidates(self._strength, median)),
            curve_bpm=tuple((60.0 / offline.local_intervals(intervals)).tolist()),
        )

    def told(self, first_seconds: float, last_seconds: float) -> Told:
        """The beats between two moments as they seem now, and the tempo now."""
        if not self.is_open:
            struck = list(self._decided)
        else:
            struck = [*self._decided[-_TEMPO_BEATS:], *self._undecided(self.hop_count)]
        near = [one for one in struck if first_seconds <= one.seconds < last_seconds]
        return Told(self._told(near), self._bpm([one.seconds for one in struck]))

    def _told(self, struck: list[_Struck]) -> tuple[Beat, ...]:
        return tuple(
            Beat(one.seconds, min(1.0, one.raw / self._loudest), _beat_confidence(one.sounds))
            for one in struck
        )

    def _bpm(self, seconds: list[float]) -> float:
        if not self.is_open or len(seconds) < 3:
            return 0.0
        return 60.0 / float(np.median(np.diff(seconds[-_TEMPO_BEATS:])))

    def _advance(self, standing_out: Floats, raw: Floats) -> None:
        self._pointer.advance(offline.activation_of(standing_out))
        self._strength = np.concatenate([self._strength, standing_out])[-_KEPT_HOPS:]
        self._raw = np.concatenate([self._raw, raw])[-_KEPT_HOPS:]

    def _judge(self) -> None:
        """Opens or closes, once the last seconds have said the same so often."""
        hops, _ = self._beats(_JUDGED_HOPS)
        recurs = len(hops) >= _LEAST_BEATS
        recurs = recurs and offline.recurrence(self._strength, hops, _DOUBT) is not None
        self._in_row = self._in_row + 1 if recurs != self.is_open else 0
        if self._in_row >= (_TO_CLOSE if self.is_open else _TO_OPEN):
            self.is_open, self._in_row = not self.is_open, 0

    def _decide(self, until_hop: int) -> None:
        """Decides for good what lies before a hop: beats where there is a pulse, or none."""
        if until_hop <= self._decided_hops:
            return
        if self.is_open:
            self._decided += self._undecided(until_hop)
            self._loudest = max([self._loudest, *(one.raw for one in self._decided[-8:])])
        self._decided_hops = until_hop

    def _undecided(self, until_hop: int) -> list[_Struck]:
        """The beats from what is decided up to a hop, as they seem now."""
        hops, periods = self._beats(self.hop_count - self._decided_hops + _STEP_HOPS)
        offset = self.hop_count - len(self._strength)
        struck = []
        last = self._decided[-1].seconds if self._decided else -1.0
        seconds = offline.seconds_of(self._raw, hops) + offset / HOPS_PER_SECOND
        for hop, period, at in zip(hops + offset, periods, seconds, strict=True):
            is_new = at > last + 0.5 * period / HOPS_PER_SECOND
            if is_new and self._decided_hops <= hop < until_hop:
                sounds = float(offline.activation_of(self._strength[hop - offset]))
                struck.append(_Struck(max(0.0, float(at)), float(self._raw[hop - offset]), sounds))
        return struck

    def _beats(self, hop_count: int) -> tuple[Integers, Integers]:
        """Beats of the last hops, as places in `_strength`, each where it sounds most."""
        hops, periods = self._pointer.beats(min(hop_count, len(self._strength)))
        hops = hops - (self.hop_count - len(self._strength))
        return loudest(self._strength, hops, periods), periods


def _beat_confidence(sounds: float) -> float:
    """How often a beat is right that sounds so much."""
    return share(_BEAT_SOUNDS * sounds + _BEAT_ODDS)


def _tempo_confidence(sounds: float, bpm: float) -> float:
    """How often a tempo is right whose beats sound so much: a fast one may be twice the tempo."""
    octaves = math.log2(bpm / _TEMPO_BPM)
    return share(_TEMPO_SOUNDS * sounds + _TEMPO_OCTAVE * octaves + _TEMPO_ODDS)
