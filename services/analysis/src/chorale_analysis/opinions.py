"""What a network says of beats, beside what we hear: how the engine `auto` listens to madmom's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_analysis.onsets import HOPS_PER_SECOND, Floats
from chorale_analysis.pulses import Barred, Features

_NEAR_FRAMES = 4
_LEAST = 0.02  # a network's chances below say nothing


@dataclass(frozen=True)
class Opinion:
    """The chances a network gives beats within bars and those that begin them: `(frames, 2)`."""

    chances: Floats
    frames_per_second: float

    def near(self, seconds: Floats) -> Floats:
        """The greatest of both near each time."""
        places = np.round(seconds * self.frames_per_second).astype(np.int64)
        around: npt.NDArray[np.int64] = places[:, None] + np.arange(-_NEAR_FRAMES, _NEAR_FRAMES + 1)
        found: Floats = self.chances[np.clip(around, 0, len(self.chances) - 1)].max(axis=1)
        return found

    def first(self, seconds: Floats) -> Floats:
        """The odds of beats at these times to be first in their bars rather than not, in nats."""
        others, firsts = (self.near(seconds) + _LEAST).T
        odds: Floats = np.log(firsts / others)
        return odds

    def shared(self, activation: Floats, late_seconds: float) -> Floats:
        """The mean of what is heard at every hop, which comes so late, and of what it says."""
        seconds = np.arange(len(activation)) / HOPS_PER_SECOND + late_seconds
        frames = np.arange(len(self.chances)) / self.frames_per_second
        mean: Floats = 0.5 * (activation + np.interp(seconds, frames, self.chances.max(axis=1)))
        return mean


def of_way(opinion: Opinion, way: Barred) -> Features:
    """What a network says of bars over a pulse."""
    seconds, first = way.pulse.seconds, way.places == 0
    at = opinion.near(seconds)
    within = opinion.near(seconds[:-1] + 0.5 * np.diff(seconds))
    of_beats = at.max(axis=1)
    of_first = float(at[first, 1].mean()) if first.any() else 0.0
    of_others = float(at[~first, 1].mean()) if (~first).any() else 0.0
    lead = of_first - of_others
    return {
        "said": float(of_beats.mean()),
        "said_log": float(np.log(of_beats + _LEAST).mean()),
        "said_within": float(within.max(axis=1).mean()),
        "said_first": of_first,
        "said_others": of_others,
        "said_lead": lead,
        **{f"said_lead{number}": lead * (way.length == number) for number in (2, 3, 4)},
    }
