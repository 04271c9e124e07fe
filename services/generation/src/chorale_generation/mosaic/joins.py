"""Joins that are not heard."""

from collections.abc import Iterator, Sequence

import numpy as np

from chorale_generation.mosaic.spectra import Samples, hann
from chorale_generation.mosaic.stretch import Floats

_STEP_SECONDS = 0.005
_WINDOW_SECONDS, _HOP_SECONDS, _HOPS = 0.02, 0.005, 4
_USUAL_PERCENT = 95
_UNHEARD = 0.5  # of the flux that so many percent of the material stay under


def joined(
    tail: Samples, made: Samples, fades: Sequence[int], sample_rate_hz: int
) -> tuple[Samples, slice]:
    """The new sound, which begins where `tail` does, faded into from it; and where in it that is.

    Of all lengths and places within the tail the crossfade takes the shortest and then the latest
    in which little new energy arises in any band, by what is usual in the new sound; or that in
    which least does. Both sides add up to one: no peak is higher than the higher of the two.
    """
    length = round(_WINDOW_SECONDS * sample_rate_hz)
    before = length // 2 + _HOPS * round(_HOP_SECONDS * sample_rate_hz)
    unheard = _UNHEARD * float(np.percentile(_flux(made, sample_rate_hz), _USUAL_PERCENT))
    best, place, least = made[: len(tail)], slice(0, 0), np.inf
    for join in _places(len(tail), fades, before, sample_rate_hz):
        head = _blended(tail, made, join)
        near = np.concatenate([head, made[len(tail) : len(tail) + length]])
        flux = float(
            _flux(near[max(0, join.start - before) : join.stop + length], sample_rate_hz).max()
        )
        if flux < least:
            best, place, least = head, join, flux
        if flux <= unheard:
            break
    return np.concatenate([best, made[len(tail) :]]), place


def _places(room: int, fades: Sequence[int], before: int, rate_hz: int) -> Iterator[slice]:
    """Where a crossfade may be, from the short to the long and from the late to the early."""
    step = max(1, round(_STEP_SECONDS * rate_hz))
    for fade in fades:
        last = room - fade  # as near to the bar line as it may be
        for at in range(last, min(before, max(0, last)) - 1, -step):
            yield slice(at, at + fade)


def _blended(tail: Samples, made: Samples, join: slice) -> Samples:
    fade = join.stop - join.start
    turn = np.pi / 2 * (np.arange(fade) + 0.5) / fade
    rising = np.sin(turn)[:, None].astype(np.float32) ** 2
    blend = tail[join] * (1.0 - rising) + made[join] * rising
    return np.concatenate([tail[: join.start], blend, made[join.stop : len(tail)]])


def _flux(sound: Samples, sample_rate_hz: int) -> Floats:
    """The rises of the spectrum from each window to the next but three."""
    length, hop = round(_WINDOW_SECONDS * sample_rate_hz), round(_HOP_SECONDS * sample_rate_hz)
    if len(sound) < length + _HOPS * hop:
        return np.zeros(1)
    windows = np.lib.stride_tricks.sliding_window_view(sound.mean(axis=1), length)[::hop]
    spectra = np.abs(np.fft.rfft(windows * hann(length), axis=1))
    rises: Floats = np.maximum(0.0, spectra[_HOPS:] - spectra[:-_HOPS]).sum(axis=1)
    return rises
