"""One stream, listened to while it plays; told now, and as a whole at the end."""

import numpy as np
import soxr

from chorale_analysis.harmony import Chord
from chorale_analysis.live.agreement import Agreement
from chorale_analysis.live.changes import Changes
from chorale_analysis.live.heard import BEATS, CHORDS, DYNAMICS, KEY, Heard, Wanted, Whole
from chorale_analysis.live.pulse import Pulse, Told
from chorale_analysis.live.strength import StrengthListener
from chorale_analysis.loudness import LoudnessListener, summary
from chorale_analysis.onsets import HOPS_PER_SECOND
from chorale_analysis.spectra import RATE_HZ, Array
from chorale_analysis.tonality import Tonality

_QUANTA_PER_SECOND = 20  # sound is heard in pieces of this length, however it comes
_SILENCE = 10.0 ** (-70.0 / 20.0)  # peaks below are noise of the medium, not music
_SAME_SECONDS = 0.09  # after so long even that nothing changed is told
_DECIDED_SECONDS = 1.0  # of sound, at least, are told of at once when decided


class Ear:
    """Listens to frames in any pieces; what it finds depends on the frames alone."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        rate, features = wanted.sample_rate_hz, wanted.features
        self._quantum = max(1, rate // _QUANTA_PER_SECOND)
        self._waiting = np.zeros((0, wanted.channel_count), np.float32)
        self._resampler = None
        if rate != RATE_HZ:
            self._resampler = soxr.ResampleStream(rate, RATE_HZ, 1, "float32", "LQ")
        hears_notes = bool(features & {CHORDS, KEY})
        hears_onsets = hears_notes or BEATS in features
        self._strength = StrengthListener() if hears_onsets else None
        self._pulse = Pulse(wanted.rhythm) if BEATS in features else None
        self._changes = Changes(wanted.chords) if hears_notes else None
        self._loudness = LoudnessListener(rate, wanted.channel_count)
        self._agreement = Agreement()
        self._facts: object = None
        self._facts_at = 0.0
        self._taken = self._hops = 0
        self._told_seconds = 0.0

    @property
    def frame_count(self) -> int:
        """How many frames came."""
        return self._taken + len(self._waiting)

    def push(self, frames: Array) -> None:
        """Listens to the next frames, `(frames, channels)`."""
        line = np.concatenate([self._waiting, frames]) if len(self._waiting) else frames
        whole = len(line) // self._quantum * self._quantum
        for first in range(0, whole, self._quantum):
            self._hear(line[first : first + self._quantum])
        self._waiting = line[whole:].copy()

    def told(self) -> list[Heard]:
        """What is new: a stretch that is decided for good, if any, and what seems so after it."""
        found = []
        decided = self._decided_seconds
        if decided - self._told_seconds >= _DECIDED_SECONDS:
            found.append(self._stretch(self._told_seconds, decided, is_decided=True))
            self._agreement.settle(found[-1])
            self._told_seconds = decided
        if self._now_seconds > self._told_seconds:
            seeming = self._stretch(self._told_seconds, self._now_seconds, is_decided=False)
            self._agreement.claim(seeming)
            if self._is_news(seeming):
                found.append(seeming)
        return found

    def _is_news(self, seeming: Heard) -> bool:
        """Whether anything changed or some time went by."""
        facts = len(seeming.beats), [chord.label for chord in seeming.chords], seeming.start_seconds
        is_news = facts != self._facts or seeming.end_seconds - self._facts_at >= _SAME_SECONDS
        if is_news:
            self._facts, self._facts_at = facts, seeming.end_seconds
        return is_news

    def finish(self) -> Whole:
        """All of it, the end decided by what there is."""
        if len(self._waiting):
            self._hear(self._waiting)
            self._waiting = self._waiting[:0]
        rest = np.zeros(0, np.float32)
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(np.zeros((0, 1), np.float32), last=True)[:, 0]
        self._listen(rest)
        seconds = self._taken / self._wanted.sample_rate_hz
        if self._strength is not None and self._taken:
            end = self._strength.finish()
            if self._pulse is not None:
                self._pulse.push(end)
            if self._changes is not None:
                self._changes.push(rest[:0], end.standing_out)
        rhythm = self._pulse.finish(seconds) if self._pulse is not None else None
        chords = tuple(self._changes.finish(seconds)) if self._changes and self._taken else ()
        key = self._changes.key(seconds) if self._changes is not None else None
        features = self._wanted.features
        return Whole(
            duration_seconds=seconds,
            rhythm=rhythm,
            chords=chords if CHORDS in features else None,
            key=key if KEY in features else None,
            loudness=summary(self._loudness.steps) if DYNAMICS in features else None,
        )

    @property
    def _now_seconds(self) -> float:
        """Up to where something can be told."""
        if self._strength is None:
            return self._taken / self._wanted.sample_rate_hz
        return self._hops / HOPS_PER_SECOND

    @property
    def _decided_seconds(self) -> float:
        now = [self._now_seconds]
        now += [one.decided_seconds for one in (self._pulse, self._changes) if one is not None]
        return min(now)

    def _hear(self, frames: Array) -> None:
        if float(np.abs(frames).max()) < _SILENCE:
            frames = np.zeros_like(frames)
        self._taken += len(frames)
        self._loudness.push(frames)
        mono = frames.mean(axis=1, dtype=np.float32)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono[:, None])[:, 0]
        self._listen(mono)

    def _listen(self, mono: Array) -> None:
        if self._strength is None or not len(mono):
            return
        strength = self._strength.push(mono)
        self._hops += len(strength.raw)
        if self._pulse is not None:
            self._pulse.push(strength)
        if self._changes is not None:
            self._changes.push(mono, strength.standing_out)

    def _stretch(self, start: float, end: float, is_decided: bool) -> Heard:
        pulse = self._pulse.told(start, end) if self._pulse is not None else Told((), 0.0)
        features = self._wanted.features
        chords: list[Chord] = []
        key = Tonality("", 0.0, (), (), 0.0)
        if self._changes is not None:
            chords = self._changes.told(start, end) if CHORDS in features else []
            key = self._changes.key(end) if KEY in features else key
        return Heard(
            start_seconds=start,
            end_seconds=end,
            is_decided=is_decided,
            beats=pulse.beats,
            bpm=pulse.bpm,
            chords=tuple(chords),
            key=key,
            momentary_lufs=self._loudness.momentary_lufs if DYNAMICS in features else None,
            stability=1.0 if is_decided else self._agreement.share,
        )
