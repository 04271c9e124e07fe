"""Windows that fade into one another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_generation.cascade.finishing import Sound
from chorale_generation.cascade.windows import Windows

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tail:
    """What windows gave so far to frames that others will still reach."""

    sums: Sound
    weights: Weights


def no_tail(channel_count: int) -> Tail:
    """What there is before the first window."""
    return Tail(np.zeros((0, channel_count), np.float32), np.zeros(0, np.float32))


def laid(windows: Windows, number: int, sound: Sound, tail: Tail) -> tuple[Sound, Tail]:
    """Adds a window, in order: frames that are final, and the tail for the next one."""
    sums, weights = _shaped(windows, sound)
    sums[: len(tail.sums)] += tail.sums
    weights[: len(tail.weights)] += tail.weights
    final = windows.final_before(number) - windows.starts[number]
    made: Sound = np.clip(sums[:final] / weights[:final, None], -1.0, 1.0)
    return made, Tail(sums[final:], weights[final:])


def _shaped(windows: Windows, sound: Sound) -> tuple[Sound, Weights]:
    """A window that fades in and out where its neighbours overlap it, and is flat elsewhere."""
    places = np.arange(windows.length, dtype=np.float32)
    edge = np.minimum(places, places[::-1]) + 1.0
    weights: Weights = np.minimum(edge / max(1, windows.fade), 1.0).astype(np.float32)
    return sound * weights[:, None], weights
