"""The waveform overview: least, greatest and mean-square sample of every 2048 frames.

Conventions: points are rows `(minimum, maximum, mean_square)` of float32 over all
channels; the last point may stand for fewer frames. A point is small (12 bytes for
2048 frames), so a picture of a whole hour reads less than a megabyte.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale_ingest.samples import FULL_SCALE_S16, Samples

FRAMES_PER_POINT = 2048
POINT_BYTES = 12

Points = NDArray[np.float32]  # (points, 3)


@dataclass(frozen=True)
class Picture:
    """What is drawn: one value of each kind per point."""

    frames_per_point: float
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    rms: NDArray[np.float32]


def points(samples: Samples, frames_per_point: int = FRAMES_PER_POINT) -> Points:
    """Reduce canonical samples, from a point's first frame on, to points."""
    scale = 1.0 if samples.dtype.kind == "f" else FULL_SCALE_S16
    row = frames_per_point * samples.shape[1]
    flat = samples.reshape(-1)
    whole = len(flat) - len(flat) % row
    parts = [_reduced(flat[:whole].reshape(-1, row), scale)]
    if whole < len(flat):
        parts.append(_reduced(flat[whole:].reshape(1, -1), scale))
    return np.concatenate(parts)


def _reduced(rows: Samples, scale: float) -> Points:
    if rows.size == 0:
        return np.empty((0, 3), "<f4")
    signal = rows.astype(np.float32) if rows.dtype.kind != "f" else rows
    energy = np.vecdot(signal, signal) / np.float32(rows.shape[1])
    columns = (rows.min(axis=1) / scale, rows.max(axis=1) / scale, energy / (scale * scale))
    return np.stack(columns, axis=1).astype("<f4")


def stored_points(data: bytes) -> Points:
    """View the overview as it is stored."""
    return np.frombuffer(data, "<f4").reshape(-1, 3)


def picture(source: Points, frames_per_point: float, point_count: int) -> Picture:
    """Merge points into at most `point_count`, each of a whole number of source points."""
    edges = np.unique(np.linspace(0, len(source), min(point_count, len(source)) + 1).astype(int))
    starts = edges[:-1]
    sizes = np.diff(edges).astype(np.float32)
    return Picture(
        frames_per_point=frames_per_point * len(source) / max(1, len(starts)),
        minimum=np.minimum.reduceat(source[:, 0], starts),
        maximum=np.maximum.reduceat(source[:, 1], starts),
        rms=np.sqrt(np.add.reduceat(source[:, 2], starts) / sizes),
    )


class Building:
    """Makes points out of blocks of any size, in order."""

    def __init__(self) -> None:
        self.least = 0.0
        self.greatest = 0.0
        self._rest: list[Samples] = []
        self._rest_frames = 0

    def add(self, block: Samples) -> Iterator[bytes]:
        """Take the next frames; yield the points that are whole by now."""
        self._rest.append(block)
        self._rest_frames += len(block)
        whole = self._rest_frames - self._rest_frames % FRAMES_PER_POINT
        if whole:
            samples = np.concatenate(self._rest) if len(self._rest) > 1 else self._rest[0]
            self._rest = [samples[whole:]]
            self._rest_frames -= whole
            yield self._finished(points(samples[:whole]))

    def finish(self) -> Iterator[bytes]:
        """Yield the last point, which may stand for fewer frames."""
        if self._rest_frames:
            yield self._finished(points(np.concatenate(self._rest)))

    def _finished(self, made: Points) -> bytes:
        # NaN wins every comparison in numpy's minimum: one bad sample shows here.
        self.least = float(np.minimum(self.least, made[:, 0].min()))
        self.greatest = float(np.maximum(self.greatest, made[:, 1].max()))
        return made.tobytes()
