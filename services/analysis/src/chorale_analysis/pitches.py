"""How strongly every note of the keyboard sounds when, whatever the music is tuned to."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from chorale_analysis.chroma import HOP, WINDOW, Chroma, ChromaListener
from chorale_analysis.spectra import RATE_HZ, Array, Windows, mel_bands

Floats = npt.NDArray[np.float64]

LOWEST_NOTE, NOTE_COUNT = 28, 66  # MIDI numbers: E1 (41 Hz) to A6 (1760 Hz)
BAND_COUNT = 40
_BAND_HERTZ = 40.0, 10_000.0
_STEPS = 3  # of the log-frequency axis, in a semitone
_OVERTONE_ROOM = 18  # semitones above the highest note in which its overtones are heard
_STEP_COUNT = (NOTE_COUNT + _OVERTONE_ROOM) * _STEPS
_MARGIN = _STEPS  # below the lowest note: half a semitone of tuning either way

_OVERTONES = 12
_OVERTONE_DECAY = 0.7  # each overtone's magnitude against the one before
_WHITENING_SEMITONES = 18  # a spectrum stands out against the octave and a half around it
_ROUNDS = 24  # of multiplicative updates; more change no chord
_AT_ONCE = 512  # hops


@dataclass(frozen=True)
class Pitches:
    """Note strengths over time: `(hops, NOTE_COUNT)`, and what the key is found from."""

    notes: Array
    level: Floats  # of each hop: root of its power
    bands: Array  # `(hops, BAND_COUNT)`: log power of mel bands, which tell timbre
    chroma: Chroma


class PitchListener:
    """Hears notes in a mono stream: log-frequency spectra, explained by tones with overtones.

    The approach of NNLS chroma (Mauch and Dixon, ISMIR 2010): whitened spectra are taken apart
    into tones of fixed overtone decay, none of them negative.
    """

    def __init__(self) -> None:
        self._windows = Windows(WINDOW, HOP)
        self._classes = ChromaListener()
        self._steps = log_frequency()
        self._heard: list[Array] = [np.zeros((0, self._steps.shape[1]), np.float32)]
        self._power: list[Floats] = [np.zeros(0)]
        self._mel = mel_bands(WINDOW, BAND_COUNT, *_BAND_HERTZ)
        self._bands: list[Array] = [np.zeros((0, BAND_COUNT), np.float32)]

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._hear(self._windows.push(block))

    def finish(self) -> Pitches:
        """All notes, once the stream has ended."""
        self._hear(self._windows.finish())
        chroma = self._classes.classes()
        notes, _ = explained(np.concatenate(self._heard), chroma.tuning_cents, 0.0)
        level, bands = np.concatenate(self._power), np.concatenate(self._bands)
        return Pitches(notes, level, bands, chroma)

    def _hear(self, batches: list[Array]) -> None:
        self._classes.hear(batches)
        for spectra in batches:
            self._heard.append(spectra @ self._steps)
            self._bands.append(np.log10(1e-5 + spectra @ self._mel))
            self._power.append(np.sqrt(np.sum(np.square(spectra, dtype=np.float64), axis=1)))


def explained(steps: Array, tuning_cents: float, most: float) -> tuple[Array, float]:
    """Note strengths of log-frequency spectra, and the greatest deviation in any so far.

    `most` is that of what came before; what deviates far less is noise.
    """
    tuned = _tuned(steps, tuning_cents)
    whitened, most = _whitened(tuned, most)
    return _taken_apart(whitened), most


@cache
def log_frequency() -> Array:
    """From bins to steps of a third of a semitone: `(bins, steps)`, each step of weight 1."""
    places = np.arange(-_MARGIN, _STEP_COUNT + _MARGIN)
    hertz = 440.0 * 2.0 ** ((LOWEST_NOTE - 69 + places / _STEPS) / 12.0)
    bins = np.arange(WINDOW // 2 + 1) * RATE_HZ / WINDOW
    width = np.maximum(RATE_HZ / WINDOW, hertz * (2.0 ** (1.0 / (12.0 * _STEPS)) - 1.0))
    weights = np.maximum(0.0, 1.0 - np.abs(bins[:, None] - hertz) / width)
    steps: Array = (weights / np.maximum(weights.sum(axis=0), 1e-9)).astype(np.float32)
    return steps


def _tuned(steps: Array, tuning_cents: float) -> Array:
    """Steps moved so that a note lies at every third one, margins cut off."""
    away = tuning_cents / 100.0 * _STEPS  # in (-1.5, 1.5]
    whole = int(np.floor(away))
    part = np.float32(away - whole)
    low = steps[:, _MARGIN + whole :][:, :_STEP_COUNT]
    high = steps[:, _MARGIN + whole + 1 :][:, :_STEP_COUNT]
    moved: Array = (1.0 - part) * low + part * high
    return moved


def _whitened(steps: Array, most: float) -> tuple[Array, float]:
    """What stands out of the octave and a half around it, in deviations of it."""
    half = _WHITENING_SEMITONES * _STEPS // 2
    count = 2 * half + 1
    padded = np.pad(steps.astype(np.float64), ((0, 0), (half, half)), mode="reflect")
    total = np.pad(np.cumsum(padded, axis=1), ((0, 0), (1, 0)))
    squares = np.pad(np.cumsum(padded**2, axis=1), ((0, 0), (1, 0)))
    mean = (total[:, count:] - total[:, :-count]) / count
    power = (squares[:, count:] - squares[:, :-count]) / count
    deviation = np.sqrt(np.maximum(power - mean**2, 0.0))
    most = float(deviation.max(initial=most))
    floor = 1e-3 * most + 1e-9
    above = np.maximum(steps - mean, 0.0) / np.maximum(deviation, floor)
    outstanding: Array = above.astype(np.float32)
    return outstanding, most


def _taken_apart(spectra: Array) -> Array:
    """Note strengths that, with their overtones, make these spectra best: none negative."""
    tones = _tones()
    alike = tones @ tones.T
    found = np.empty((len(spectra), NOTE_COUNT), np.float32)
    for first in range(0, len(spectra), _AT_ONCE):
        wanted = spectra[first : first + _AT_ONCE] @ tones.T
        notes = wanted.copy() + 1e-6
        for _ in range(_ROUNDS):
            notes *= wanted / np.maximum(notes @ alike, 1e-9)
        found[first : first + _AT_ONCE] = notes
    return found


@cache
def _tones() -> Array:
    """What each note looks like on the log-frequency axis: `(notes, steps)`, each of length 1."""
    places = np.arange(_STEP_COUNT)
    tones = np.zeros((NOTE_COUNT, _STEP_COUNT))
    for note in range(NOTE_COUNT):
        hertz = 440.0 * 2.0 ** ((LOWEST_NOTE + note - 69) / 12.0)
        for number in range(1, _OVERTONES + 1):
            centre = (note + 12.0 * np.log2(number)) * _STEPS
            # A window's lobe is two bins to either side: wide where bins are wide.
            lobe = 1.5 * RATE_HZ / WINDOW / (hertz * number) * 12.0 * _STEPS / np.log(2.0)
            shape = np.maximum(0.0, 1.0 - np.abs(places - centre) / max(1.0, lobe))
            tones[note] += _OVERTONE_DECAY ** (number - 1) * shape
    shapes: Array = (tones / np.linalg.norm(tones, axis=1, keepdims=True)).astype(np.float32)
    return shapes
