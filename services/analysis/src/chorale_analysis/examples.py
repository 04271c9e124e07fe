"""Sounds of known truth, and judging what engines say of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chorale_analysis.engine_trials import Outcome, Trial
from chorale_analysis.harmony import ChordSettings, Harmony
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.spectra import Array
from chorale_analysis.structure import Form, StructureSettings
from chorale_analysis.tonality import KeySettings, Tonality
from chorale_analysis.wishes import Settings

_CADENCE = {"major": ((0, 4), (5, 4), (7, 4), (0, 4)), "minor": ((0, 3), (5, 3), (7, 4), (0, 3))}
_OVERTONES = 4
_CHORD_SECONDS = 1.0


@dataclass(frozen=True)
class Example:
    """One sound, and what is expected of it."""

    settings: Settings
    sound: Callable[[int], Array]  # mono, at a rate
    judge: Callable[[Any], tuple[bool, str]]  # of what was found


def clicks(rate_hz: int, bpm: float, seconds: float = 10.0) -> Array:
    """Short bursts of noise on every beat, every fourth louder."""
    draw, length = np.random.default_rng(0), round(0.02 * rate_hz)
    sound = np.zeros(round(seconds * rate_hz), np.float32)
    decay = np.exp(-np.arange(length) / (0.004 * rate_hz))
    for number, at in enumerate(np.arange(0.25, seconds - 0.05, 60.0 / bpm)):
        start = round(at * rate_hz)
        loud = 0.6 if number % 4 == 0 else 0.35
        sound[start : start + length] += loud * draw.standard_normal(length) * decay
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def cadence(rate_hz: int, tonic: int, mode: str, seconds: float = 10.0) -> Array:
    """I IV V I over and over, plain tones with overtones; `tonic` counts from C."""
    time = np.arange(round(_CHORD_SECONDS * rate_hz)) / rate_hz
    fade = np.minimum(1.0, np.minimum(time, _CHORD_SECONDS - time) / 0.02)
    chords = []
    for degree, third in _CADENCE[mode]:
        chord = np.zeros(len(time))
        for note in (48 + tonic + degree, *(60 + tonic + degree + step for step in (0, third, 7))):
            hertz = 440.0 * 2.0 ** ((note - 69) / 12.0)
            for number in range(1, _OVERTONES + 1):
                chord += 0.6**number * np.sin(2.0 * np.pi * hertz * number * time)
        chords.append(0.15 * chord * fade)
    sound = np.tile(np.concatenate(chords), int(np.ceil(seconds / (4 * _CHORD_SECONDS))))
    return sound[: round(seconds * rate_hz)].astype(np.float32)


def noise(rate_hz: int) -> Array:
    """Ten seconds of white noise."""
    draw = np.random.default_rng(1).standard_normal(10 * rate_hz)
    return np.clip(0.1 * draw, -1.0, 1.0).astype(np.float32)


def _at_tempo(bpm: float) -> Callable[[Rhythm], tuple[bool, str]]:
    def judge(found: Rhythm) -> tuple[bool, str]:
        near = abs(found.bpm - bpm) <= 0.02 * bpm
        return near, f"{found.bpm:.1f} BPM, {len(found.beats)} beats"

    return judge


def _no_beats(found: Rhythm) -> tuple[bool, str]:
    return not found.beats, f"{found.bpm:.1f} BPM, {len(found.beats)} beats"


def _in_key(key: str) -> Callable[[Tonality], tuple[bool, str]]:
    return lambda found: (found.key == key, found.key or "no key")


def _with_chords(*labels: str) -> Callable[[Harmony], tuple[bool, str]]:
    def judge(found: Harmony) -> tuple[bool, str]:
        heard = [chord.label for chord in found.chords if chord.seconds > 0.5][: len(labels)]
        return heard == list(labels), " ".join(heard)

    return judge


def _in_two(found: Form) -> tuple[bool, str]:
    inner = [section.start_seconds for section in found.sections[1:]]
    near = any(abs(at - 16.0) <= 3.0 for at in inner)
    return near, ", ".join(f"{at:.1f} s" for at in inner) or "no boundary"


def _two_parts(rate_hz: int) -> Array:
    beats = clicks(rate_hz, 150, 16.0)
    second = cadence(rate_hz, 6, "minor", 16.0) + beats
    return np.concatenate([cadence(rate_hz, 0, "major", 16.0), np.clip(second, -1.0, 1.0)])


EXAMPLES = {
    ("beats", "click_120_bpm"): Example(
        RhythmSettings(), lambda rate: clicks(rate, 120), _at_tempo(120)
    ),
    ("beats", "click_93_bpm"): Example(
        RhythmSettings(), lambda rate: clicks(rate, 93), _at_tempo(93)
    ),
    ("beats", "noise"): Example(RhythmSettings(), noise, _no_beats),
    ("key", "cadence_c_major"): Example(
        KeySettings(), lambda rate: cadence(rate, 0, "major"), _in_key("C major")
    ),
    ("key", "cadence_f_sharp_minor"): Example(
        KeySettings(), lambda rate: cadence(rate, 6, "minor"), _in_key("F# minor")
    ),
    ("chords", "cadence_c_major"): Example(
        ChordSettings("majmin"),
        lambda rate: cadence(rate, 0, "major"),
        _with_chords("C:maj", "F:maj", "G:maj"),
    ),
    ("structure", "two_parts"): Example(StructureSettings(), _two_parts, _in_two),
}


def run(trial: Trial) -> Outcome:
    """Whether an engine finds what is expected, and what it found."""
    from chorale_analysis.together import Company

    example, name = EXAMPLES[trial.capability, trial.name], trial.capability
    settings = example.settings
    if trial.vocabulary and isinstance(settings, ChordSettings):
        settings = replace(settings, vocabulary=trial.vocabulary)
    weights = {trial.maker: trial.path} if trial.path else {}
    begun = time.perf_counter()
    company = Company({name: settings}, {name: trial.maker}, weights)
    loaded = time.perf_counter()
    seconds = 0.0
    for listener in company.listeners:
        sound = example.sound(listener.rate_hz)
        seconds = len(sound) / listener.rate_hz
        listener.push(sound)
    passed, found = example.judge(company.find(seconds)[name])
    return Outcome(passed, found, time.perf_counter() - loaded, loaded - begun)
