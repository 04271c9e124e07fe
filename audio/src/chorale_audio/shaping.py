"""Bringing sound to one channel and another rate, block by block."""

import numpy as np
import soxr

from chorale_audio.pcm import Samples, mixed
from chorale_audio.source import Source


class Shaper:
    """Brings blocks to one channel and another rate, as they come."""

    def __init__(self, source: Source, rate: int | None, mono: bool) -> None:
        self.sample_rate_hz = rate or source.sample_rate_hz
        self.channel_count = 1 if mono else source.channel_count
        self._mono = mono
        self._resampler = None
        if self.sample_rate_hz != source.sample_rate_hz:
            self._resampler = soxr.ResampleStream(
                source.sample_rate_hz, self.sample_rate_hz, self.channel_count, "float32", "HQ"
            )

    def push(self, block: Samples) -> Samples:
        """Shapes the next block; what the resampler holds back comes later."""
        if self._mono:
            block = mixed(block)
        if self._resampler is None:
            return block
        return self._shaped(self._resampler.resample_chunk(np.ascontiguousarray(block)))

    def finish(self) -> Samples:
        """What the resampler held back."""
        empty = np.zeros((0, self.channel_count), np.float32)
        if self._resampler is None:
            return empty
        return self._shaped(self._resampler.resample_chunk(empty, last=True))

    def _shaped(self, block: Samples) -> Samples:
        return block.reshape(-1, self.channel_count)
