"""Joins that are not heard."""

import numpy as np

from chorale_generation.mosaic.spectra import Samples, hann

_STEP_SECONDS = 0.005
_WINDOW_SECONDS, _HOP_SECONDS, _HOPS = 0.02, 0.005, 4


def joined(tail: Samples, made: Samples, fade: int, sample_rate_hz: int) -> tuple[Samples, int]:
    """The new sound, which begins where `tail` does, faded into from it; and where that begins.

    Of all places within the tail the crossfade takes the one in which the least new energy
    arises in any band. Both sides add up to one: no peak is higher than the higher of the two.
    """
    rising = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade)[:, None].astype(np.float32) ** 2
    length = round(_WINDOW_SECONDS * sample_rate_hz)
    before = length // 2 + _HOPS * round(_HOP_SECONDS * sample_rate_hz)
    after = made[len(tail) : len(tail) + length]
    best, place, least = made[: len(tail)], 0, np.inf
    step = max(1, round(_STEP_SECONDS * sample_rate_hz))
    last = len(tail) - fade  # as near to the bar line as it may be
    for at in range(last, min(before, max(0, last)) - 1, -step):
        blend = tail[at : at + fade] * (1.0 - rising) + made[at : at + fade] * rising
        head = np.concatenate([tail[:at], blend, made[at + fade : len(tail)]])
        near = np.concatenate([head, after])[max(0, at - before) : at + fade + length]
        flux = _flux(near, sample_rate_hz)
        if flux < least:
            best, place, least = head, at, flux
    return np.concatenate([best, made[len(tail) :]]), place


def _flux(sound: Samples, sample_rate_hz: int) -> float:
    """The greatest rise of the spectrum from one window to the next but three."""
    length, hop = round(_WINDOW_SECONDS * sample_rate_hz), round(_HOP_SECONDS * sample_rate_hz)
    if len(sound) < length + _HOPS * hop:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(sound.mean(axis=1), length)[::hop]
    spectra = np.abs(np.fft.rfft(windows * hann(length), axis=1))
    return float(np.maximum(0.0, spectra[_HOPS:] - spectra[:-_HOPS]).sum(axis=1).max())
