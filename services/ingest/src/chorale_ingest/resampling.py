"""Any rate, cut anywhere: the pieces of a resampled read equal the whole, bit for bit.

The input is cut into blocks on a fixed grid whose edges fall on whole frames at both
rates. Each block is resampled alone, by soxr VHQ, together with a margin on either
side that is longer than the filter, and the margins' output is dropped. A block's
output is therefore a function of the audio alone, and not of where a read began.

Conventions: output frame j stands at time j / out_rate; N input frames make
ceil(N * out_rate / in_rate) output frames; silence surrounds the audio.
"""

import math
from dataclasses import dataclass

import numpy as np
import soxr

from chorale_ingest.samples import Signal

# Frames of the lower rate. Longer than half of soxr's VHQ filter: measured, an impulse is
# under -180 dB beyond 140 of them, at every ratio from 1:24 to 24:1.
MARGIN_FRAMES = 256
# Inputs per block, about: large enough that margins cost little, small enough to start soon.
BLOCK_FRAMES = 1 << 17


@dataclass(frozen=True)
class Grid:
    """Where blocks lie, at both rates; made by `grid`."""

    rate_in_hz: int
    rate_out_hz: int
    block_in_frames: int
    block_out_frames: int
    margin_in_frames: int
    margin_out_frames: int

    def frame_count(self, input_frame_count: int) -> int:
        """How many frames come out of that many."""
        return -(-input_frame_count * self.rate_out_hz // self.rate_in_hz)

    def block_of(self, output_frame: int) -> int:
        """The block that an output frame belongs to."""
        return output_frame // self.block_out_frames

    def window(self, block: int) -> tuple[int, int]:
        """The input frames [start, end) that a block needs; they may lie outside the audio."""
        start = block * self.block_in_frames
        return start - self.margin_in_frames, start + self.block_in_frames + self.margin_in_frames


def grid(rate_in_hz: int, rate_out_hz: int) -> Grid:
    """Lay the grid for a pair of rates."""
    divisor = math.gcd(rate_in_hz, rate_out_hz)
    step_in, step_out = rate_in_hz // divisor, rate_out_hz // divisor
    margin_wanted = MARGIN_FRAMES * max(1.0, rate_in_hz / rate_out_hz)
    margin_steps = math.ceil(margin_wanted / step_in)
    block_steps = max(1, math.ceil(BLOCK_FRAMES / step_in))
    return Grid(
        rate_in_hz=rate_in_hz,
        rate_out_hz=rate_out_hz,
        block_in_frames=block_steps * step_in,
        block_out_frames=block_steps * step_out,
        margin_in_frames=margin_steps * step_in,
        margin_out_frames=margin_steps * step_out,
    )


def resample_block(window: Signal, layout: Grid) -> Signal:
    """Resample one window of `layout.window` and return the block's own output frames."""
    made: Signal = soxr.resample(window, layout.rate_in_hz, layout.rate_out_hz, quality="VHQ")
    own = made[layout.margin_out_frames : layout.margin_out_frames + layout.block_out_frames]
    return np.ascontiguousarray(own, dtype=np.float32)


def padded(samples: Signal, start: int, end: int, input_frame_count: int) -> Signal:
    """Surround what was read of a window with the silence outside the audio."""
    before = max(0, -start)
    after = max(0, end - max(input_frame_count, start))
    if not before and not after:
        return samples
    return np.pad(samples, ((before, after), (0, 0)))
