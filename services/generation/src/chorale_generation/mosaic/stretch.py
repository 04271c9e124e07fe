"""Playing sound along another clock: a phase vocoder for tones, WSOLA for strokes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from chorale_generation.mosaic.spectra import (
    OVERLAP,
    Samples,
    Spectra,
    analysed,
    centres,
    hann,
    laid,
    window_length,
)

Floats = npt.NDArray[np.float64]

_STROKE_WINDOW_SECONDS = 0.04
_STROKE_SEARCH_SECONDS = 0.008


@dataclass(frozen=True)
class Clock:
    """Which moment of a source sounds at a moment of the result: straight between pairs."""

    result_seconds: Sequence[float]
    source_seconds: Sequence[float]

    def source(self, result: Floats) -> Floats:
        """Moments of the source; beyond the ends the pace of the ends goes on."""
        at, to = np.asarray(self.result_seconds), np.asarray(self.source_seconds)
        inside = np.interp(result, at, to)
        first, last = (to[1] - to[0]) / (at[1] - at[0]), (to[-1] - to[-2]) / (at[-1] - at[-2])
        early, late = np.minimum(result - at[0], 0.0), np.maximum(result - at[-1], 0.0)
        moments: Floats = inside + early * first + late * last
        return moments

    @property
    def is_plain(self) -> bool:
        """Whether the source runs at its own pace."""
        lengths = np.diff(self.source_seconds), np.diff(self.result_seconds)
        return bool(np.allclose(*lengths, rtol=0.0, atol=1e-4))


def tones(
    sound: Samples, rate_hz: int, clock: Clock, first_seconds: float, count: int, semitones: int
) -> Samples:
    """So many frames of the result from `first_seconds` on, with tones shifted and kept whole.

    Phases advance as they do in the source, and every bin keeps its phase to the peak that it
    belongs to: Laroche and Dolson, "Improved phase vocoder time-scale modification of audio",
    1999. A shift is a stretch that is then read at another rate.
    """
    ratio = 2.0 ** (semitones / 12.0)
    longer = round(count * ratio) + 1 if semitones else count
    length = window_length(rate_hz)
    moments = first_seconds + centres(longer, length) / (rate_hz * ratio)
    starts = np.round(clock.source(moments) * rate_hz).astype(np.int64) - length // 2
    now = analysed(sound, starts, length)
    before = analysed(sound, starts - length // OVERLAP, length)
    played = laid(_locked(before, now), length, longer)
    return _higher(played, rate_hz, ratio, count) if semitones else played


def _higher(played: Samples, rate_hz: int, ratio: float, count: int) -> Samples:
    """What was played longer than it shall be, at the rate that makes it as long as it shall be."""
    shifted = soxr.resample(played, rate_hz * ratio, rate_hz, "HQ").reshape(-1, played.shape[1])
    return np.pad(shifted[:count], ((0, max(0, count - len(shifted))), (0, 0)))


def _locked(before: Spectra, now: Spectra) -> Spectra:
    """The windows of `now`, turned so that each goes on from the one before it."""
    middle, past = now.mean(axis=1), before.mean(axis=1)
    angles, advance = np.angle(middle), np.angle(middle * np.conj(past))
    loudness = np.abs(middle)
    turned = np.empty_like(now)
    turned[0] = now[0]
    phase = angles[0]
    for number in range(1, len(now)):
        peaks = _peaks(loudness[number])
        owner = peaks[np.searchsorted((peaks[:-1] + peaks[1:]) / 2.0, np.arange(phase.size))]
        turn = (phase + advance[number] - angles[number])[owner]
        turned[number] = now[number] * np.exp(1j * turn).astype(np.complex64)
        phase = angles[number] + turn
    return turned


def _peaks(loudness: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Bins that are louder than two neighbours on either side; at least one."""
    inner = loudness[2:-2]
    is_peak = (inner > loudness[1:-3]) & (inner >= loudness[3:-1])
    is_peak &= (inner > loudness[:-4]) & (inner >= loudness[4:])
    found = np.flatnonzero(is_peak) + 2
    return found if len(found) else np.array([int(np.argmax(loudness))])


def strokes(
    sound: Samples,
    rate_hz: int,
    clock: Clock,
    first_seconds: float,
    count: int,
    beats: Floats,
    semitones: int = 0,
) -> Samples:
    """So many frames of the result from `first_seconds` on, with attacks kept whole.

    Strokes are shifted like tones: what they leave of tones would else stay in the key they had.
    Windows are taken from where they fit best to what was laid before, within 8 ms; the ones
    around `beats` (moments of the result) from exactly where they belong. Reference: Verhelst and
    Roelands, "An overlap-add technique based on waveform similarity", ICASSP 1993.
    """
    ratio = 2.0 ** (semitones / 12.0)
    longer = round(count * ratio) + 1 if semitones else count
    hop = round(_STROKE_WINDOW_SECONDS * rate_hz / 2)
    length, search = 2 * hop, round(_STROKE_SEARCH_SECONDS * rate_hz)
    middles = np.arange(longer // hop + 2) * hop
    moments = first_seconds + middles / (rate_hz * ratio)
    wanted = np.round(clock.source(moments) * rate_hz).astype(np.int64) - hop
    near = np.abs(moments[:, None] - beats[None, :]).min(axis=1) < hop / rate_hz
    pad = length + search + max(0, -int(wanted.min()))
    after = max(0, int(wanted.max()) + 2 * length + search - len(sound))
    padded = np.pad(sound, ((pad, after + length), (0, 0)))
    mono = padded.mean(axis=1)
    made = np.zeros(((len(middles) + 1) * hop, sound.shape[1]), np.float32)
    shape, taken = hann(length)[:, None], int(wanted[0])
    for number, belongs in enumerate(wanted.tolist()):
        start = belongs
        if number and not near[number]:
            start += _best(mono, taken + hop + pad, belongs + pad, length, search)
        made[number * hop :][:length] += padded[start + pad :][:length] * shape
        taken = start
    played = made[hop:][:longer]
    return _higher(played, rate_hz, ratio, count) if semitones else played


def _best(mono: Samples, natural: int, start: int, length: int, search: int) -> int:
    """How far from `start` the sound is most like what would naturally follow."""
    follows = mono[natural : natural + length]
    around = mono[max(0, start - search) : start + search + length]
    if len(follows) < length or len(around) < length + 2 * search or not follows.any():
        return 0
    likeness = np.correlate(around, follows, "valid")
    power = np.convolve(around**2, np.ones(length, np.float32), "valid")
    return int(np.argmax(likeness / np.sqrt(np.maximum(power, 1e-9)))) - search
