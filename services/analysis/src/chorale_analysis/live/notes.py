"""Which notes sound while it plays, the key so far, and what chords are judged by."""

from dataclasses import dataclass, replace

import numpy as np

from chorale_analysis import chords
from chorale_analysis.chroma import (
    HOP,
    HOPS_PER_SECOND,
    WINDOW,
    Chroma,
    ChromaListener,
    folded,
    tuning_cents,
)
from chorale_analysis.key import detect_key
from chorale_analysis.pitches import Floats, explained, log_frequency
from chorale_analysis.spectra import Array, Windows
from chorale_analysis.tonality import KeySettings, Tonality

_RECENT_HOPS = round(chords.KEY_SECONDS * HOPS_PER_SECOND)
_QUIETEST = 1e-5  # root power of a window of sound at -70 dBFS: below is no music
_LOWEST_BIN = 15  # 40 Hz: a constant offset is no sound
_FORGET = 0.999  # how much the loudest counts a hop later: half after a minute


class KeyListener:
    """The key of all that was heard, in memory that does not grow."""

    def __init__(self) -> None:
        self._classes = ChromaListener()
        self._octave = np.zeros(120)
        self._sum, self._hops, self._longest = np.zeros(12), 0, 0.0
        self.recent = np.zeros((0, 12))  # pitch classes of the last 20 s
        self._found_at, self._found = -1, Tonality("", 0.0, (), (), 0.0)

    @property
    def tuning_cents(self) -> float:
        """How the music is tuned, so far as is known."""
        return tuning_cents(self._octave)

    def hear(self, spectra: Array) -> None:
        """Listens to one more window, `(1, bins)`."""
        self._classes.hear([spectra])
        octaves = self._classes.taken()
        self._octave += octaves.sum(axis=0)
        classes = folded(octaves, self.tuning_cents)[0]
        length = float(np.linalg.norm(classes))
        self._longest = max(self._longest, length)
        classes = classes / max(length, 1e-3 * self._longest + 1e-12)
        self._sum += classes
        self._hops += 1
        self.recent = np.concatenate([self.recent, classes[None, :]])[-_RECENT_HOPS:]

    def find(self) -> Tonality:
        """The key so far; none where nothing tonal sounds. It has no regions."""
        if self._found_at != self._hops:
            mean = self._sum[None, :] / max(1, self._hops)
            chroma = Chroma(mean, self.tuning_cents, self._classes.peak_share)
            found = detect_key(chroma, 0.0, KeySettings())
            self._found_at, self._found = self._hops, replace(found, regions=())
        return self._found


@dataclass(frozen=True)
class Evidence:
    """What speaks for each chord at one hop, by what came before alone."""

    treble: Floats  # (12,)
    bass: Floats  # (12,)
    silence: float
    expected: Floats  # (chords,)


class NoteListener:
    """Hears notes in a mono stream, hop by hop."""

    def __init__(self, fits: Floats, costs: Floats) -> None:
        self._windows = Windows(WINDOW, HOP)
        self._steps = log_frequency()
        self._fits, self._costs = fits, costs
        self.key = KeyListener()
        self._most_deviation, self._loud = 0.0, _QUIETEST
        self._lengths = np.zeros((0, 2))  # of treble and bass, in the last 20 s

    def push(self, block: Array) -> list[Evidence]:
        """Listens to the next mono block; what it completes."""
        return self._heard(self._windows.push(block))

    def finish(self) -> list[Evidence]:
        """What reaches past the end."""
        return self._heard(self._windows.finish())

    def _heard(self, batches: list[Array]) -> list[Evidence]:
        return [self._hear(row[None, :]) for spectra in batches for row in spectra]

    def _hear(self, spectra: Array) -> Evidence:
        self.key.hear(spectra)
        notes, self._most_deviation = explained(
            spectra @ self._steps, self.key.tuning_cents, self._most_deviation
        )
        treble, bass = chords.voices(notes)
        here = np.concatenate([chords.lengths(treble), chords.lengths(bass)], axis=1)
        self._lengths = np.concatenate([self._lengths, here])[-_RECENT_HOPS:]
        usual = np.median(self._lengths, axis=0)
        level = np.sqrt(np.sum(np.square(spectra[:, _LOWEST_BIN:], dtype=np.float64), axis=1))
        self._loud = max(_FORGET * self._loud, float(level[0]), _QUIETEST)
        around = self.key.recent.mean(axis=0, keepdims=True)
        return Evidence(
            treble=chords.evened(treble, float(usual[0]))[0],
            bass=chords.evened(bass, float(usual[1]))[0],
            silence=float(chords.silence(level, self._loud)[0]),
            expected=chords.expected(around, self._fits, self._costs)[0],
        )
