"""Level, loudness and silence over time, in one pass over frames as they come."""

from dataclasses import replace

import numpy as np

from chorale_analysis.dynamics import (
    QUIETEST_DBFS,
    QUIETEST_LUFS,
    Dynamics,
    DynamicsSettings,
    Stretch,
)
from chorale_analysis.loudness import STEPS_PER_SECOND, LoudnessListener, summary
from chorale_analysis.onsets import HOPS_PER_SECOND, Floats, Onsets
from chorale_analysis.spectra import Array
from chorale_analysis.steps import Steps

_FINE_PER_SECOND = 100  # silence is looked for in steps of 10 ms
_SILENCE_SECONDS = 0.1  # shorter ones are the gaps between notes
_NO_ONSETS = 1e-6


class LevelListener:
    """Takes frames `(frames, channels)` at their own rate."""

    def __init__(self, sample_rate_hz: int, channel_count: int) -> None:
        self._loudness = LoudnessListener(sample_rate_hz, channel_count)
        self._squares = Steps(sample_rate_hz, _FINE_PER_SECOND)

    def push(self, frames: Array) -> None:
        """Measures the next frames."""
        self._loudness.push(frames)
        self._squares.push(np.mean(np.square(frames, dtype=np.float64), axis=1))

    def find(self, settings: DynamicsSettings, onsets_found: Onsets) -> Dynamics:
        """All of it, once the sound has ended; its onsets are heard elsewhere."""
        seconds = self._squares.seconds
        fine = np.array(self._squares.all_means, np.float64)
        raw = onsets_found.raw
        found = summary(self._loudness.steps)
        hop = max(1.0 / STEPS_PER_SECOND, seconds / settings.curve_points)
        hop = np.ceil(hop * STEPS_PER_SECOND - 1e-9) / STEPS_PER_SECOND
        count = int(np.ceil(seconds / hop - 1e-9)) if seconds else 0
        rms = _binned(fine, hop * _FINE_PER_SECOND, count, "mean")
        lufs = _binned(np.array(found.momentary_lufs), hop * STEPS_PER_SECOND, count, "max")
        most = float(raw.max(initial=0.0))
        strength = raw / most if most > _NO_ONSETS else np.zeros(0)
        onsets = _binned(strength, hop * HOPS_PER_SECOND, count, "max")
        silences = _silences(fine, settings.silence_below_peak_db, seconds)
        return replace(
            found,
            hop_seconds=float(hop),
            rms_dbfs=tuple(_decibels(rms).tolist()),
            momentary_lufs=tuple(np.where(lufs == 0.0, QUIETEST_LUFS, lufs).tolist()),
            onset_strength=tuple(onsets.tolist()),
            trimmed=_trimmed(silences, seconds),
            silences=tuple(silences),
        )


def _binned(values: Floats, width: float, count: int, how: str) -> Floats:
    """Means or maxima of successive stretches, so many; 0 where nothing was measured."""
    found = np.zeros(count)
    for number in range(count):
        part = values[int(number * width) : max(int(number * width) + 1, int((number + 1) * width))]
        if len(part):
            found[number] = part.mean() if how == "mean" else part.max()
    return found


def _decibels(squares: Floats) -> Floats:
    found: Floats = np.maximum(QUIETEST_DBFS, 10.0 * np.log10(np.maximum(squares, 1e-30)))
    return found


def _silences(squares: Floats, below_peak_db: float, seconds: float) -> list[Stretch]:
    """Stretches far softer than the loudest moment; all of it where nothing sounds at all."""
    if not len(squares):
        return []
    levels = _decibels(squares)
    loudest = float(levels.max())
    is_silent = levels < loudest - below_peak_db
    if loudest <= QUIETEST_DBFS:
        is_silent[:] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_silent, [False]]).astype(int)))
    found = []
    for first, last in edges.reshape(-1, 2):
        start, end = first / _FINE_PER_SECOND, min(seconds, last / _FINE_PER_SECOND)
        is_all = first == 0 and last == len(squares)
        if end - start >= _SILENCE_SECONDS or is_all:
            found.append(Stretch(float(start), float(end)))
    return found


def _trimmed(silences: list[Stretch], seconds: float) -> Stretch:
    """What is left without silence at both ends; nothing where all is silent."""
    start, end = 0.0, seconds
    if silences and silences[0].start_seconds == 0.0:
        start = silences[0].end_seconds
    if silences and silences[-1].end_seconds >= seconds:
        end = silences[-1].start_seconds
    return Stretch(start, max(start, end))
