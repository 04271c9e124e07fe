"""A short song of our own, made from a seed: drums, bass, chords and a melody."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale_mesh.demo import instruments
from chorale_mesh.demo.instruments import RATE_HZ, Sound

_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
# Degrees of the scale, one chord a bar; each comes back to where it began.
_PROGRESSIONS = ((1, 5, 6, 4), (1, 6, 4, 5), (6, 4, 1, 5), (1, 4, 6, 5))
_BARS, _BEATS_PER_BAR = 8, 4
# The song begins softly and opens up, bar by bar.
_LEVELS = (0.5, 0.62, 0.78, 0.86, 1.0, 1.0, 0.95, 0.8)
_TAIL_SECONDS = 0.8
_PEAK = 10 ** (-4.0 / 20)


@dataclass(frozen=True)
class Song:
    """A song, and what is true of it."""

    signal: NDArray[np.float32]
    """Shaped (frames, channels)."""
    rate_hz: int
    bpm: float
    key: str
    chords: tuple[str, ...]
    """One a bar."""
    title: str

    @property
    def duration_seconds(self) -> float:
        """How long it lasts."""
        return len(self.signal) / self.rate_hz

    def wav(self) -> bytes:
        """The song as a 16-bit WAV file."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(self.signal.shape[1])
            writer.setsampwidth(2)
            writer.setframerate(self.rate_hz)
            writer.writeframes(quantized(self.signal).tobytes())
        return file.getvalue()


def quantized(signal: NDArray[np.float32]) -> NDArray[np.int16]:
    """The samples as the WAV file holds them."""
    return np.asarray(np.clip(np.round(signal * 32768.0), -32768, 32767), dtype="<i2")


def compose(seed: int) -> Song:
    """Makes the song of a seed: the same seed, the same song to the last bit."""
    chance = np.random.default_rng(seed)
    bpm = float(chance.integers(104, 121))
    tonic = int(chance.integers(0, 12))
    degrees = _PROGRESSIONS[int(chance.integers(len(_PROGRESSIONS)))]
    score = _Score(bpm, tonic, [degrees[bar % 4] for bar in range(_BARS)])
    mix = _drums(score, chance) + _bass(score) + _chords(score) + _melody(score, chance)
    mix = np.tanh(1.15 * instruments.room(mix, chance, share=0.16))
    mix *= _PEAK / np.max(np.abs(mix))
    return Song(
        signal=mix.astype(np.float32),
        rate_hz=RATE_HZ,
        bpm=bpm,
        key=f"{_NAMES[tonic]} major",
        chords=tuple(score.chord_name(bar) for bar in range(_BARS)),
        title=f"Demonstration in {_NAMES[tonic]}, no. {seed}",
    )


@dataclass(frozen=True)
class _Score:
    bpm: float
    tonic: int
    degrees: list[int]

    @property
    def beat_seconds(self) -> float:
        return 60.0 / self.bpm

    @property
    def bar_seconds(self) -> float:
        return _BEATS_PER_BAR * self.beat_seconds

    def silence(self) -> Sound:
        frames = int((_BARS * self.bar_seconds + _TAIL_SECONDS) * RATE_HZ)
        return np.zeros((frames, 2))

    def pitch(self, degree: int, octave: int) -> int:
        """The MIDI pitch of a degree of the scale; degrees go on into the next octave."""
        above, step = divmod(degree - 1, 7)
        return 12 * (octave + above + 1) + self.tonic + _MAJOR[step]

    def chord_name(self, bar: int) -> str:
        root = self.pitch(self.degrees[bar], 0) % 12
        return _NAMES[root] + ("m" if self.degrees[bar] in (2, 3, 6) else "")


def _add(track: Sound, at_seconds: float, sound: Sound, level: float, pan: float = 0.0) -> None:
    """Mixes a sound in; `pan` goes from -1, left, to 1, right, at constant power."""
    begin = round(at_seconds * RATE_HZ)
    end = min(len(track), begin + len(sound))
    angle = (pan + 1) * np.pi / 4
    sides = np.array([np.cos(angle), np.sin(angle)]) * np.sqrt(2)
    track[begin:end] += level * sound[: end - begin, None] * sides


def _drums(score: _Score, chance: np.random.Generator) -> Sound:
    track = score.silence()
    drum = instruments.kick()
    for bar in range(_BARS):
        level = _LEVELS[bar]
        for beat in range(_BEATS_PER_BAR):
            now = bar * score.bar_seconds + beat * score.beat_seconds
            if beat in (0, 2):
                _add(track, now, drum, 0.9 * level)
            else:
                _add(track, now, instruments.snare(chance), 0.5 * level, pan=0.05)
            for half in (0, 1):
                decay = 0.09 if (beat, half) == (3, 1) else 0.022
                when = now + half * score.beat_seconds / 2
                strength = (0.16 - 0.06 * half) * level
                _add(track, when, instruments.hat(chance, decay), strength, pan=-0.3)
        if bar % 2:
            _add(track, (bar + 1) * score.bar_seconds - score.beat_seconds / 2, drum, 0.55)
    return track


def _bass(score: _Score) -> Sound:
    track = score.silence()
    for bar, degree in enumerate(score.degrees):
        root = score.pitch(degree, 1)
        for eighth, leap in enumerate((0, 0, 12, 0, 7, 0, 12, 7)):
            when = bar * score.bar_seconds + eighth * score.beat_seconds / 2
            length = 0.46 * score.beat_seconds
            strength = (0.34 if leap else 0.42) * _LEVELS[bar]
            _add(track, when, instruments.bass(root + leap, length), strength)
    return track


def _chords(score: _Score) -> Sound:
    track = score.silence()
    for bar, degree in enumerate(score.degrees):
        for voice, step in enumerate((0, 2, 4, 7)):
            pitch = score.pitch(degree + step, 3)
            for detune_cents, side in ((-4.0, -0.5), (4.0, 0.5)):
                sound = instruments.pad(pitch, score.bar_seconds + 0.12, detune_cents)
                _add(track, bar * score.bar_seconds, sound, 0.05 - 0.006 * voice, pan=side)
    return track


def _melody(score: _Score, chance: np.random.Generator) -> Sound:
    """Walks over the scale and lands on a note of the chord at every bar."""
    track = score.silence()
    degree = 5
    for bar in range(1, _BARS):
        chord = [score.degrees[bar] + step for step in (0, 2, 4)]
        for eighth in range(8):
            if eighth == 0:
                degree = min(chord + [tone + 7 for tone in chord], key=lambda t: abs(t - degree))
            elif chance.random() < (0.45 if eighth % 2 else 0.2):
                continue
            else:
                degree = int(np.clip(degree + chance.integers(-2, 3), 1, 12))
            when = bar * score.bar_seconds + eighth * score.beat_seconds / 2
            level = 0.22 if eighth % 4 == 0 else 0.16
            _add(track, when, instruments.bell(score.pitch(degree, 4), 1.2), level, pan=0.25)
    return track
