"""Signals with a known answer, made here and seeded: what tests of every service listen to.

A signal is float32 `(frames, channels)` in [-1, 1]. The same arguments always give the same
samples.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]

RATE_HZ = 44100
NOTES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

# Scale degrees in semitones, and whether the triad on them is minor: I IV V I, i iv V i.
_CADENCES = {
    "major": ((0, False), (5, False), (7, False), (0, False)),
    "minor": ((0, True), (5, True), (7, False), (0, True)),
}


def channels(mono: npt.NDArray[np.floating], count: int) -> Signal:
    """The same sound in every channel."""
    return np.repeat(np.asarray(mono, np.float32)[:, None], count, axis=1)


def silence(seconds: float, channel_count: int = 2, rate_hz: int = RATE_HZ) -> Signal:
    """Digital black."""
    return np.zeros((round(seconds * rate_hz), channel_count), np.float32)


def sine(
    peak_dbfs: float,
    seconds: float,
    channel_count: int = 2,
    hertz: float = 1000.0,
    rate_hz: int = RATE_HZ,
    phase_degrees: float = 0.0,
) -> Signal:
    """A tone of this peak level, in phase in all channels."""
    turns = hertz * np.arange(round(seconds * rate_hz)) / rate_hz + phase_degrees / 360.0
    return channels(10.0 ** (peak_dbfs / 20.0) * np.sin(2.0 * np.pi * turns), channel_count)


def steps(
    levels: Sequence[tuple[float | None, float]],
    channel_count: int = 2,
    hertz: float = 1000.0,
    rate_hz: int = RATE_HZ,
) -> Signal:
    """One tone through successive levels: `(peak in dBFS, or None for silence, seconds)`."""
    counts = [round(seconds * rate_hz) for _, seconds in levels]
    gains = [0.0 if level is None else 10.0 ** (level / 20.0) for level, _ in levels]
    envelope = np.repeat(gains, counts)
    tone = np.sin(2.0 * np.pi * hertz * np.arange(len(envelope)) / rate_hz)
    return channels(envelope * tone, channel_count)


def sweep(
    first_hertz: float, last_hertz: float, seconds: float, peak: float = 0.5, rate_hz: int = RATE_HZ
) -> Signal:
    """A tone that rises by the same interval every second, in one channel."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    octaves = np.log(last_hertz / first_hertz)
    phase = 2.0 * np.pi * first_hertz * seconds / octaves * np.expm1(time / seconds * octaves)
    return channels(peak * np.sin(phase), 1)


def noise(seconds: float, seed: int, channel_count: int = 2, rate_hz: int = RATE_HZ) -> Signal:
    """White noise of RMS 0.1, its own in every channel."""
    draw = np.random.default_rng(seed)
    shape = (round(seconds * rate_hz), channel_count)
    return np.clip(0.1 * draw.standard_normal(shape), -1.0, 1.0).astype(np.float32)


def pink_noise(seconds: float, seed: int, channel_count: int = 2, rate_hz: int = RATE_HZ) -> Signal:
    """Noise of the same power in every octave from 20 Hz up, RMS 0.1."""
    count = round(seconds * rate_hz)
    draw = np.random.default_rng(seed)
    spectrum = np.fft.rfft(draw.standard_normal((count, channel_count)), axis=0)
    hertz = np.fft.rfftfreq(count, 1.0 / rate_hz)
    spectrum *= np.where(hertz < 20.0, 0.0, 1.0 / np.sqrt(np.maximum(hertz, 20.0)))[:, None]
    sound = np.fft.irfft(spectrum, count, axis=0)
    signal: Signal = (0.1 * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
    return signal


def clicks(
    bpm: float,
    seconds: float,
    seed: int = 0,
    first_seconds: float = 0.25,
    accent_every: int = 4,
    rate_hz: int = RATE_HZ,
) -> Signal:
    """Short bursts of noise on every beat, louder on every `accent_every`-th, in two channels."""
    draw = np.random.default_rng(seed)
    length = round(0.02 * rate_hz)
    decay = np.exp(-np.arange(length) / (0.004 * rate_hz))
    sound = np.zeros(round(seconds * rate_hz))
    for number, beat in enumerate(beat_times(bpm, seconds, first_seconds)):
        start = round(beat * rate_hz)
        burst = draw.standard_normal(length) * decay
        burst *= 0.6 if number % accent_every == 0 else 0.35
        room = sound[start : start + length]
        room += burst[: len(room)]
    return channels(np.clip(sound, -1.0, 1.0), 2)


def beat_times(bpm: float, seconds: float, first_seconds: float = 0.25) -> npt.NDArray[np.float64]:
    """Where the beats of `clicks` are."""
    return np.arange(first_seconds, seconds - 0.02, 60.0 / bpm)


def cadence(
    tonic: str, mode: str, repeats: int = 4, chord_seconds: float = 0.8, rate_hz: int = RATE_HZ
) -> Signal:
    """I IV V I (minor: i iv V i) over and over, plain tones with four overtones, two channels."""
    root = 48 + NOTES.index(tonic)  # MIDI number, C3 = 48
    parts = []
    for degree, is_minor in _CADENCES[mode] * repeats:
        third = 3 if is_minor else 4
        pitches = [root + degree - 12, *(root + degree + step for step in (0, third, 7))]
        parts.append(_chord(pitches, chord_seconds, rate_hz))
    sound = np.concatenate(parts)
    return channels(0.5 * sound / np.abs(sound).max(), 2)


def song(bpm: float, tonic: str, mode: str, seconds: float, seed: int = 0) -> Signal:
    """A cadence under clicks: a known tempo and a known key at once."""
    beats = clicks(bpm, seconds, seed)
    harmony = cadence(tonic, mode, repeats=1 + round(seconds / 3.2), chord_seconds=120.0 / bpm)
    return np.clip(0.6 * beats + 0.6 * harmony[: len(beats)], -1.0, 1.0).astype(np.float32)


def _chord(pitches: Sequence[int], seconds: float, rate_hz: int) -> npt.NDArray[np.float64]:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    envelope = np.minimum(1.0, time / 0.01) * np.exp(-1.5 * time)
    sound = np.zeros(len(time))
    for pitch in pitches:
        hertz = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
        for overtone in range(1, 6):
            sound += 0.6**overtone * np.sin(2.0 * np.pi * overtone * hertz * time)
    chord: npt.NDArray[np.float64] = sound * envelope
    return chord
