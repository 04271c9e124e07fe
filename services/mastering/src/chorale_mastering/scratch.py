"""Sound between two passes, on disk: memory holds one block, however long it is."""

import tempfile
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from chorale_mastering.block import Samples

BLOCK_FRAMES = 1 << 15


class Scratch:
    """Frames written in order, and read as often as wanted. Gone when closed."""

    def __init__(self, channel_count: int, directory: str | None = None) -> None:
        self._channel_count, self.directory = channel_count, directory
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115  # `close`
        self.frame_count = 0

    def emptied(self, channel_count: int) -> "Scratch":
        """Itself, empty, for other sound: overwriting costs half of what new room costs."""
        self._channel_count, self.frame_count = channel_count, 0
        self._file.seek(0)
        return self

    def append(self, block: Samples) -> None:
        """Writes the next frames."""
        data = _bytes_of(np.ascontiguousarray(block, np.float32))
        while len(data):
            data = data[self._file.write(data) :]
        self.frame_count += len(block)

    def blocks(self, block_frames: int = BLOCK_FRAMES, first_frame: int = 0) -> Iterator[Samples]:
        """Yields all frames from `first_frame` on, in blocks of their own memory."""
        frame_bytes = 4 * self._channel_count
        self._file.seek(first_frame * frame_bytes)
        left = self.frame_count - first_frame
        while left > 0:
            block = np.empty((min(block_frames, left), self._channel_count), np.float32)
            data = _bytes_of(block)
            while len(data):
                count = self._file.readinto(data)
                if not count:
                    raise EOFError(f"The scratch file ended {left} frames early.")
                data = data[count:]
            left -= len(block)
            yield block

    def close(self) -> None:
        """Gives the room back."""
        self._file.close()

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _bytes_of(block: Samples) -> memoryview:
    return memoryview(block.reshape(-1).view(np.uint8).data)
