"""From some channels to others."""

import numpy as np

from chorale_mastering.block import Samples


def mixed_to(block: Samples, channel_count: int) -> Samples:
    """Mixes down to one channel, or spreads one over many; the same count passes.

    Mixing takes the mean, so that nothing rises; surround goes to stereo by ITU-R BS.775-4
    (centre and surrounds at -3 dB, no low-frequency effects).
    """
    have = block.shape[1]
    if have == channel_count:
        return block
    if have == 1:
        return np.repeat(block, channel_count, axis=1)
    if channel_count == 1:
        return (_stereo(block) @ np.full((2, 1), 0.5, np.float32)).astype(np.float32)
    if channel_count == 2:
        return _stereo(block)
    raise ValueError(f"{have} channels cannot become {channel_count}; 1 or 2 are needed.")


_ROOT_HALF = np.float32(np.sqrt(0.5))
# Where each channel goes, in the order of `weighting.CHANNEL_WEIGHTS`: l left, r right, c both,
# s and t a surround to the left and to the right, - nowhere.
_PLACES = {2: "lr", 3: "lrc", 4: "lrst", 5: "lrcst", 6: "lrc-st", 7: "lrc-cst", 8: "lrc-stst"}
_SHARES = {
    "l": (1.0, 0.0),
    "r": (0.0, 1.0),
    "c": (_ROOT_HALF, _ROOT_HALF),
    "s": (_ROOT_HALF, 0.0),
    "t": (0.0, _ROOT_HALF),
    "-": (0.0, 0.0),
}


def _stereo(block: Samples) -> Samples:
    if block.shape[1] == 2:
        return block
    shares = np.array([_SHARES[place] for place in _PLACES[block.shape[1]]], np.float32)
    out: Samples = block @ shares
    return out
