"""Instruments for the demonstration's song: each is a function from a note to its sound."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float64]

RATE_HZ = 44_100


def seconds(duration: float) -> Sound:
    """The times of the frames of a sound, in seconds."""
    return np.arange(int(duration * RATE_HZ)) / RATE_HZ


def hertz(pitch: float) -> float:
    """The frequency of a MIDI pitch; 69 is a' at 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def kick() -> Sound:
    """A drum whose pitch falls from 130 to 46 Hz."""
    t = seconds(0.32)
    phase = 2 * np.pi * (46 * t + (130 - 46) * 0.035 * (1 - np.exp(-t / 0.035)))
    click = np.exp(-t / 0.002) * 0.25
    return np.asarray(np.sin(phase) * np.exp(-t / 0.11) + click)


def snare(noise: np.random.Generator) -> Sound:
    """Rattling noise over a short tone."""
    t = seconds(0.22)
    rattle = np.diff(noise.standard_normal(len(t) + 1)) * 0.35 * np.exp(-t / 0.06)
    return np.asarray(rattle + 0.6 * np.sin(2 * np.pi * 188 * t) * np.exp(-t / 0.045))


def hat(noise: np.random.Generator, decay_seconds: float) -> Sound:
    """A cymbal: noise with nothing below its highest octave."""
    t = seconds(6 * decay_seconds)
    bright = np.diff(noise.standard_normal(len(t) + 2), 2)
    return np.asarray(bright * 0.25 * np.exp(-t / decay_seconds))


@lru_cache(maxsize=64)
def bass(pitch: float, duration: float) -> Sound:
    """A round bass: eight harmonics, the high ones gone first."""
    t = seconds(duration)
    tone = np.zeros_like(t)
    for harmonic in range(1, 9):
        strength = 0.8 ** (harmonic - 1) / harmonic
        decay = np.exp(-t * (0.8 + 1.6 * harmonic))
        tone += strength * decay * np.sin(2 * np.pi * hertz(pitch) * harmonic * t)
    return tone * _shape(t, 0.006, 0.04)


@lru_cache(maxsize=64)
def pad(pitch: float, duration: float, detune_cents: float) -> Sound:
    """A warm voice of a chord that swells and breathes."""
    t = seconds(duration)
    base = hertz(pitch + detune_cents / 100)
    tone = np.zeros_like(t)
    for harmonic in range(1, 7):
        breath = 1 + 0.3 * np.sin(2 * np.pi * 0.31 * harmonic * t + harmonic)
        tone += breath * np.sin(2 * np.pi * base * harmonic * t + 0.7 * harmonic) / harmonic**1.7
    return tone * _shape(t, 0.18, 0.25)


@lru_cache(maxsize=64)
def bell(pitch: float, duration: float) -> Sound:
    """A struck bar: a tone whose overtones, by frequency modulation, die before it does."""
    t = seconds(duration)
    frequency = hertz(pitch)
    index = 2.4 * np.exp(-t / 0.16)
    modulation = index * np.sin(2 * np.pi * 3.0 * frequency * t)
    tone = np.sin(2 * np.pi * frequency * t + modulation)
    return np.asarray(tone * np.exp(-t / 0.42) * _shape(t, 0.003, 0.05))


def room(dry: Sound, noise: np.random.Generator, share: float) -> Sound:
    """Adds a small hall: the convolution with a second of decaying, softened noise."""
    t = seconds(1.1)
    echo = noise.standard_normal((len(t), dry.shape[1])) * np.exp(-t / 0.22)[:, None]
    echo = (echo[2:] + echo[1:-1] + echo[:-2]) / 3
    echo /= np.sqrt(np.sum(echo**2, axis=0))
    size = 1 << (len(dry) + len(echo) - 1).bit_length()
    spectrum = np.fft.rfft(dry, size, axis=0) * np.fft.rfft(echo, size, axis=0)
    wet = np.fft.irfft(spectrum, size, axis=0)[: len(dry)]
    return np.asarray(dry + share * wet)


def _shape(t: Sound, attack_seconds: float, release_seconds: float) -> Sound:
    """Lets a note begin and end without a click."""
    begin = np.minimum(1.0, t / attack_seconds)
    end = np.minimum(1.0, (t[-1] - t) / release_seconds) if len(t) else t
    return np.asarray(begin * end)
