"""Where a sound is loudest, and fading a stretch of it in and out."""

import numpy as np

from chorale_ingest.overview import FRAMES_PER_POINT, Points
from chorale_ingest.samples import Signal


def loudest(points: Points, frame_count: int, whole_frame_count: int) -> int:
    """The first frame of the run with the most energy, told by the overview."""
    width = max(1, min(len(points), frame_count // FRAMES_PER_POINT))
    sums = np.concatenate([[0.0], np.cumsum(points[:, 2], dtype=np.float64)])
    start = int(np.argmax(sums[width:] - sums[:-width])) * FRAMES_PER_POINT
    return max(0, min(start, whole_frame_count - frame_count))


def faded(signal: Signal, fade_frames: int) -> Signal:
    """Raise from nothing and fall to nothing as a half cosine, over at most a third each."""
    count = min(fade_frames, len(signal) // 3)
    if count == 0:
        return signal
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
    made = np.array(signal, np.float32)
    made[:count] *= rise[:, np.newaxis]
    made[-count:] *= rise[::-1, np.newaxis]
    return made
