"""Measuring sound block by block, with a word now and then on how far it is."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from chorale_mastering.loudness import Loudness
from chorale_mastering.meter import Meter
from chorale_mastering.spectrum import MeanSpectrum

Blocks = Iterable[npt.NDArray[np.float32]]


def measure(
    blocks: Blocks, meter: Meter, frame_count: int, tell: Callable[[float], None]
) -> Loudness:
    """Measures all blocks, third octaves too, telling the share done about fifty times."""
    told = 0.0
    spectrum = MeanSpectrum.gatherer(meter.sample_rate_hz, meter.channel_count)
    for block in blocks:
        meter.push(block)
        spectrum.push(block)
        share = meter.frame_count / max(1, frame_count)
        if share >= told + 0.02:
            told = share
            tell(min(1.0, share))
    meter.finish()
    return replace(meter.read(), third_octaves_db=spectrum.read().third_octaves_db())
