"""Bringing sound down to the rate it is listened to at, mixed into one channel.

Conventions: sound goes in as float32 `(frames, channels)` in blocks of any size; what comes out is
float32 mono at `RATE_HZ`. How the sound was cut makes no difference, nor does it to what is below
3.6 kHz, which is all that Chromaprint hears, how it came down: to 0.02 dB.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

RATE_HZ = 11025
# From here on the rate is halved first, which is cheaper than resampling what is above.
_HALVED_HZ = 40_000
# Brought down at once: what stays in the cache.
_PART_FRAMES = 1 << 15

Block: TypeAlias = npt.NDArray[np.float32]


class Lowered:
    """Mixes and resamples blocks of sound."""

    def __init__(self, sample_rate_hz: int, channel_count: int) -> None:
        self._halved = _Halved(channel_count) if sample_rate_hz >= _HALVED_HZ else None
        rate_hz = sample_rate_hz / 2 if self._halved else sample_rate_hz
        # Sums are scaled last, where there are fewest of them.
        self._scale = np.float32((_Halved.SCALE if self._halved else 1.0) / channel_count)
        self._resampler = (
            None
            if rate_hz == RATE_HZ
            else soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
        )

    def push(self, block: Block) -> Block:
        """Takes the next frames; returns what is known by now."""
        starts = range(0, len(block), _PART_FRAMES)
        parts = [self._part(block[start : start + _PART_FRAMES]) for start in starts]
        return np.concatenate(parts) if parts else _NOTHING

    def finish(self) -> Block:
        """Takes the end of the sound and returns the rest."""
        return self._lowered(self._halved.finish() if self._halved else _NOTHING, True)

    def _part(self, block: Block) -> Block:
        return self._lowered(self._halved.push(block) if self._halved else _summed(block), False)

    def _lowered(self, sums: Block, last: bool) -> Block:
        if self._resampler is not None:
            sums = self._resampler.resample_chunk(sums, last=last)
        return sums * self._scale


class _Halved:
    """Every second sample of the sum of channels, through four coefficients: -1, 9, 9, -1.

    They are those of the cubic through four neighbours, flat where Chromaprint listens. What they
    leave above 18.5 kHz falls on what is heard: 9 dB less at worst, and music has little there.
    """

    # What brings the sums, whose greatest coefficient is 1, back to full scale.
    SCALE = 9 / 16

    def __init__(self, channel_count: int) -> None:
        self._spare = np.zeros((0, channel_count), np.float32)
        # Kept, because the kernel fills new memory with zeros first: sums of the even and of the
        # odd frames, behind those of before that are asked for again, and what is made of them.
        self._evens = np.zeros(1 + _PART_FRAMES // 2 + 1, np.float32)
        self._odds = np.zeros(2 + _PART_FRAMES // 2 + 1, np.float32)
        self._far = np.zeros(_PART_FRAMES // 2 + 1, np.float32)
        self._has_begun = False

    def push(self, block: Block) -> Block:
        """Takes the next frames, `_PART_FRAMES` at most; what it returns lasts until the next."""
        if len(self._spare):
            block = np.concatenate([self._spare, block])
        count = len(block) // 2
        self._spare = block[2 * count :].copy()
        return self._made(block[0 : 2 * count : 2], block[1 : 2 * count : 2])

    def finish(self) -> Block:
        """Takes the end."""
        last = np.zeros((2 * (1 + len(self._spare)), self._spare.shape[1]), np.float32)
        last[: len(self._spare)] = self._spare
        return self._made(last[::2], last[1::2])

    def _made(self, even: Block, odd: Block) -> Block:
        count = len(even)
        if not count:
            return _NOTHING
        # A pair of frames is made when the next one is there: that one waits.
        evens, odds, far = self._evens[: 1 + count], self._odds[: 2 + count], self._far[:count]
        _sum_into(even, evens[1:])
        _sum_into(odd, odds[2:])
        np.add(odds[:-2], evens[1:], out=far)
        far *= np.float32(1 / 9)
        np.subtract(evens[:-1], far, out=far)
        far += odds[1:-1]
        evens[:1], odds[:2] = evens[-1:], odds[-2:].copy()
        begun, self._has_begun = self._has_begun, True
        return far if begun else far[1:]


_NOTHING = np.zeros(0, np.float32)


def _summed(block: Block) -> Block:
    sums = np.empty(len(block), np.float32)
    _sum_into(block, sums)
    return sums


def _sum_into(block: Block, sums: Block) -> None:
    # Column by column: sums along the short axis take several times as long.
    if block.shape[1] == 1:
        sums[:] = block[:, 0]
        return
    np.add(block[:, 0], block[:, 1], out=sums)
    for channel in range(2, block.shape[1]):
        sums += block[:, channel]
