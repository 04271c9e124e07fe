"""Float samples to integers, with dither where the sound holds more than they can.

Dither is triangular (TPDF), of two least significant bits peak to peak, and a function of
the position alone: the noise of frame n is the same whoever writes it, from wherever.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chorale_ingest.samples import Signal

BLOCK_FRAMES = 1 << 16
SEED = 0x43484F52

Integers = NDArray[np.int32]  # (frames, channels), right-justified


def quantised(block: Signal, bit_depth: int, block_number: int, dithered: bool) -> Integers:
    """Round one block of the grid to integers; what is over full scale is clipped to it."""
    full_scale = float(1 << (bit_depth - 1))
    scaled = block.astype(np.float64) * full_scale
    if dithered:
        scaled += _triangular(block.shape, block_number)
    return np.clip(np.rint(scaled), -full_scale, full_scale - 1).astype(np.int32)


def packed(integers: Integers, bit_depth: int) -> bytes:
    """Write them little-endian, in as many bytes as they need."""
    if bit_depth == 16:
        return integers.astype("<i2").tobytes()
    low_first = np.ascontiguousarray(integers, "<i4").view(np.uint8).reshape(-1, 4)
    return low_first[:, :3].tobytes()


def blocks(signal: Signal) -> Iterator[Signal]:
    """Cut a signal that begins on the grid into blocks of it."""
    for start in range(0, len(signal), BLOCK_FRAMES):
        yield signal[start : start + BLOCK_FRAMES]


def _triangular(shape: tuple[int, ...], block_number: int) -> NDArray[np.float64]:
    generator = np.random.Generator(np.random.SFC64([SEED, block_number]))
    uniform = generator.random((2, *shape))
    noise: NDArray[np.float64] = uniform[0] - uniform[1]
    return noise
