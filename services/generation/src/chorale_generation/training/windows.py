"""Windows of the sound that is learned from: mapped into memory, never copied there whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale_generation.refusals import DatasetTooSmall

Sound = npt.NDArray[np.float32]  # (windows, frames)


@dataclass(frozen=True)
class Windows:
    """Windows of a file, and which of them to learn from."""

    sound: Sound
    chosen: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    def taken(self, places: Sequence[int]) -> Sound:
        """Some of them, read from the file."""
        found: Sound = np.asarray(self.sound[self.chosen[list(places)]])
        return found

    def first(self, count: int) -> "Windows":
        """As many, from the front."""
        return Windows(self.sound, self.chosen[:count])


def windows(path: str, frame_count: int, most: int) -> Windows:
    """All whole windows of a file, or as many as may be, spread evenly."""
    count = Path(path).stat().st_size // 4 // frame_count
    if not count:
        return Windows(np.zeros((0, frame_count), np.float32), np.zeros(0, np.int64))
    sound = np.memmap(path, np.float32, "r", shape=(count, frame_count))
    return Windows(sound, np.linspace(0, count - 1, min(count, most)).astype(np.int64))


@dataclass(frozen=True)
class Split:
    """What to learn from, and what to validate by."""

    learning: Windows
    validation: Windows
    is_apart: bool  # whether nothing is in both


def split(
    learning_path: str, validation_path: str, frame_count: int, rate_hz: int, most: int, least: int
) -> Split:
    """Windows of both parts; raises `DatasetTooSmall`.

    Where too little was kept back, it is validated by what it learns from.
    """
    learning = windows(learning_path, frame_count, most)
    if len(learning) < least:
        raise DatasetTooSmall(len(learning), least, frame_count / rate_hz)
    validation = windows(validation_path, frame_count, max(least, most // 8))
    if len(validation) >= least:
        return Split(learning, validation, is_apart=True)
    return Split(learning, learning.first(max(least, most // 8)), is_apart=False)
