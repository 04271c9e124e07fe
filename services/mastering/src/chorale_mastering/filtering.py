"""Taking out what is no music: a constant offset, and rumble under the lowest note."""

import math

import numpy as np

from chorale_mastering import biquad
from chorale_mastering.biquad import BUTTERWORTH_Q, Cascade
from chorale_mastering.block import Processor, Samples
from chorale_mastering.weighting import Biquad

DEFAULT_RUMBLE_HZ = 20.0
_BLOCKER_HZ = 2.0  # removes an offset that is not known yet


class Offset:
    """Subtracts a constant from each channel; no latency. Silence with no offset stays silence."""

    def __init__(self, offsets: Samples) -> None:
        self._offsets = np.asarray(offsets, np.float32)

    @property
    def latency_frames(self) -> int:
        """None."""
        return 0

    def process(self, block: Samples) -> Samples:
        """Subtracts from the next frames."""
        return block - self._offsets

    def flush(self) -> Samples:
        """Nothing is held back."""
        return np.zeros((0, len(self._offsets)), np.float32)


class Gain:
    """Multiplies by a constant; no latency."""

    def __init__(self, gain: float, channel_count: int) -> None:
        self._gain, self._channel_count = np.float32(gain), channel_count

    @property
    def latency_frames(self) -> int:
        """None."""
        return 0

    def process(self, block: Samples) -> Samples:
        """Multiplies the next frames."""
        return block * self._gain

    def flush(self) -> Samples:
        """Nothing is held back."""
        return np.zeros((0, self._channel_count), np.float32)


def rumble_filter(hertz: float, sample_rate_hz: int, channel_count: int) -> Processor:
    """A Butterworth high-pass of 12 dB per octave; it takes a constant offset out too."""
    return Cascade((biquad.high_pass(hertz, BUTTERWORTH_Q, sample_rate_hz),), channel_count)


def blocker(sample_rate_hz: int, channel_count: int) -> Processor:
    """A first-order high-pass at 2 Hz, for sound whose offset is not known yet."""
    keep = math.exp(-2.0 * math.pi * _BLOCKER_HZ / sample_rate_hz)
    scale = (1.0 + keep) / 2.0
    return Cascade((Biquad(scale, -scale, 0.0, -keep, 0.0),), channel_count)
