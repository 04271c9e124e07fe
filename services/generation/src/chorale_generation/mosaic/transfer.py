"""How much of each track is heard in what was made of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_generation.mosaic.spectra import Samples

_HOP_SECONDS = 0.01
_FLOOR = 1e-8


@dataclass(frozen=True)
class Transfer:
    """Correlations of onsets with the result, in [-1, 1], and the power of both tracks in it."""

    correlations: tuple[float, float]
    powers: tuple[float, float]

    @property
    def balance(self) -> float:
        """How evenly both are heard, in [0, 1]."""
        total = sum(self.powers)
        return 2.0 * min(self.powers) / total if total > 0.0 else 0.0


def transfer(voices: Sequence[Samples], mix: Samples, sample_rate_hz: int) -> Transfer:
    """Compares what each track gave with the whole."""
    whole = onsets(mix, sample_rate_hz)
    one, other = (_correlation(onsets(voice, sample_rate_hz), whole) for voice in voices)
    first, second = (float(np.mean(np.square(voice))) if voice.size else 0.0 for voice in voices)
    return Transfer((one, other), (first, second))


def joined(transfers: Sequence[Transfer]) -> Transfer:
    """The mean of sections."""
    means = np.mean([[*each.correlations, *each.powers] for each in transfers], axis=0).tolist()
    return Transfer((means[0], means[1]), (means[2], means[3]))


def onsets(sound: Samples, sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """Rises of the level, in steps of 10 ms."""
    hop = round(_HOP_SECONDS * sample_rate_hz)
    whole = len(sound) // hop * hop
    power = np.square(sound[:whole], dtype=np.float64).sum(axis=1).reshape(-1, hop).mean(axis=1)
    rises: npt.NDArray[np.float64] = np.maximum(0.0, np.diff(np.log(power + _FLOOR)))
    return rises


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    if one.size < 2 or one.std() < 1e-9 or other.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
