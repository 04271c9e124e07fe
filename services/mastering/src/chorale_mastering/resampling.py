"""To another sample rate, before the limiter, so that its ceiling holds for what is written."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from chorale_mastering.block import Samples


def resampled_to(
    blocks: Iterable[Samples], sample_rate_hz: int, made_rate_hz: int, channel_count: int
) -> Iterator[Samples]:
    """Yields the same sound at another rate (soxr, very high quality); the same rate passes."""
    if sample_rate_hz == made_rate_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(
        sample_rate_hz, made_rate_hz, channel_count, dtype="float32", quality="VHQ"
    )
    for block in blocks:
        if len(block):
            yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros((0, channel_count), np.float32), last=True)
