"""From 32-bit float to fewer bits: rounding, and noise that hides it."""

import numpy as np
from numba import njit

from chorale_mastering.block import Samples
from chorale_mastering.resolution import Dither, Resolution

# Where everything was zero for so long, digital black is meant and no noise is added.
_BLACK_FRAMES = 64

# Error feedback that moves noise to where hearing is dull, for rates near 44.1 kHz: the 5-tap
# filter of Lipshitz, Vanderkooy and Wannamaker, "Minimally audible noise shaping", JAES 39(11),
# 1991.
_SHAPING = (2.033, -2.165, 1.959, -1.590, 0.6149)
_SHAPED_FROM_HZ = 40000  # below, there is no dull region to move noise to


class Quantizer:
    """A processor that leaves float32 samples on the grid of a resolution; no latency.

    The noise is drawn from a seed, frame by frame, so the same sound gives the same bits however
    it is cut. Float and 32 bits pass: float32 has no more to lose. Digital black stays black.
    """

    def __init__(
        self, resolution: Resolution, sample_rate_hz: int, channel_count: int, seed: int = 1
    ) -> None:
        self._channel_count = channel_count
        self._passes = resolution.keeps_all
        self._steps = 2.0 ** (resolution.bits - 1)
        noise = resolution.noise
        self._draws = {Dither.NONE: 0, Dither.RPDF: 1}.get(noise, 2)
        is_shaped = noise is Dither.SHAPED and sample_rate_hz >= _SHAPED_FROM_HZ
        self._shaping = np.array(_SHAPING if is_shaped else ())
        self._errors = np.zeros((channel_count, len(_SHAPING)))
        seeds = np.random.SeedSequence(seed).generate_state(channel_count, np.uint64)
        self._seeds = np.maximum(seeds, np.uint64(1))
        self._black = np.full(1, _BLACK_FRAMES)

    @property
    def latency_frames(self) -> int:
        """None."""
        return 0

    def process(self, block: Samples) -> Samples:
        """Quantises the next frames."""
        if self._passes:
            return block
        out = np.empty(block.shape, np.float32)
        if not self._draws and not len(self._shaping):
            _rounded(np.ascontiguousarray(block, np.float32), self._steps, out)
            return out
        _quantise(
            np.ascontiguousarray(block, np.float32),
            out,
            (self._steps, self._draws),
            self._shaping,
            self._errors,
            self._seeds,
            self._black,
        )
        return out

    def flush(self) -> Samples:
        """Nothing is held back."""
        return np.zeros((0, self._channel_count), np.float32)


@njit(cache=True, nogil=True)
def _rounded(block, steps, out):  # type: ignore[no-untyped-def]
    """To the nearest step, without noise. Float32 is exact on the grid of up to 24 bits."""
    step, top = np.float32(1.0 / steps), np.float32(steps - 1.0)
    for n in range(np.uintp(block.shape[0])):
        for channel in range(np.uintp(block.shape[1])):
            value = np.rint(block[n, channel] * np.float32(steps))
            out[n, channel] = min(max(value, -np.float32(steps)), top) * step


@njit(cache=True, nogil=True)
def _quantise(block, out, grid, shaping, errors, seeds, black):  # type: ignore[no-untyped-def]
    steps, draws = grid
    order = shaping.shape[0]
    for n in range(np.uintp(block.shape[0])):
        silent = True
        for channel in range(np.uintp(block.shape[1])):
            silent &= block[n, channel] == 0.0
        black[0] = black[0] + 1 if silent else 0
        for channel in range(np.uintp(block.shape[1])):
            if black[0] >= _BLACK_FRAMES:
                out[n, channel] = 0.0
                errors[channel, :] = 0.0
                continue
            wanted = block[n, channel] * steps
            for k in range(order):
                wanted -= shaping[k] * errors[channel, k]
            noise = 0.0
            for _ in range(draws):
                state = seeds[channel]  # xorshift64 (Marsaglia 2003)
                state ^= state << np.uint64(13)
                state ^= state >> np.uint64(7)
                state ^= state << np.uint64(17)
                seeds[channel] = state
                noise += np.float64(state >> np.uint64(11)) * 1.1102230246251565e-16 - 0.5
            value = np.floor(wanted + noise + 0.5)
            for k in range(order - 1):
                errors[channel, order - 1 - k] = errors[channel, order - 2 - k]
            if order:
                errors[channel, 0] = value - wanted
            out[n, channel] = min(max(value, -steps), steps - 1.0) / steps
