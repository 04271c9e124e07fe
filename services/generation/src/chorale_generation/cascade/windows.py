"""Where the windows of long sound lie, and what is final of it when another one is made."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Windows:
    """Windows of one length, spread evenly: the first begins with the sound, the last ends with it.

    So none reaches beyond the sound, and none is too short to be measured by itself.
    """

    starts: tuple[int, ...]
    length: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def fade(self) -> int:
        """Frames in which two neighbours overlap, at least."""
        if len(self) == 1:
            return 0
        return self.length - max(b - a for a, b in zip(self.starts, self.starts[1:], strict=False))

    def final_before(self, number: int) -> int:
        """No window after `number` reaches a frame before this one."""
        following = self.starts[number + 1 : number + 2]
        return following[0] if following else self.starts[-1] + self.length


def spread(frame_count: int, window_frames: int, overlap: float) -> Windows:
    """Windows of so many frames, or of all there are, that overlap by this share or more."""
    length = min(frame_count, window_frames)
    hop = max(1, round(length * (1.0 - overlap)))
    hops = math.ceil((frame_count - length) / hop)
    rest = frame_count - length
    return Windows(tuple(rest * place // max(1, hops) for place in range(hops + 1)), length)
