"""The engines whose published weights are brought as files."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from chorale_analysis import bar_rhythm, mix_parts, published_networks
from chorale_analysis.chord_ears import BtcEar, ChordCnnLstmEar
from chorale_analysis.key import unmoved
from chorale_analysis.rhythm import RhythmSettings
from chorale_analysis.spectra import RATE_HZ, Array
from chorale_analysis.wishes import Finding, Settings

_LEAST_KEY_SECONDS = 8.0  # the network halves its frames seven times: shorter sound is repeated


class Ear(Protocol):
    """Listens for what is wished of one such engine. Its weights are loaded when it is made."""

    rate_hz: int

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `rate_hz`."""

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """All that was wished for, once the stream has ended."""


def listening(maker: str, wishes: Mapping[str, Settings], path: str) -> Ear:
    """The ear of this engine, with the weights at this path; raises `WeightsRefused`."""
    if maker in ("btc-sl", "btc-pl"):
        return BtcEar(maker, wishes, path)
    return _EARS[maker](wishes, path)


class _Keeper:
    """Keeps the whole sound."""

    rate_hz = RATE_HZ

    def __init__(self, wishes: Mapping[str, Settings]) -> None:
        self._wishes = wishes
        self._blocks: list[Array] = []

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._blocks.append(block)

    def _sound(self) -> Array:
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)


class BeatNetEar(_Keeper):
    """`beatnet`: beats and downbeats."""

    def __init__(self, wishes: Mapping[str, Settings], path: str) -> None:
        super().__init__(wishes)
        self._network = published_networks.beatnet(path)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """The rhythm."""
        from chorale_analysis.networks.beatnet import FRAMES_PER_SECOND, activations

        heard = activations(self._network, self._sound())
        return {
            name: bar_rhythm.rhythm_of(
                heard, FRAMES_PER_SECOND, duration_seconds, settings, (2, 3, 4)
            )
            for name, settings in self._wishes.items()
            if isinstance(settings, RhythmSettings)
        }


class SKeyEar(_Keeper):
    """`skey`: the key of the whole."""

    def __init__(self, wishes: Mapping[str, Settings], path: str) -> None:
        super().__init__(wishes)
        self._network = published_networks.skey(path)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """The key."""
        from chorale_analysis.networks.skey import chances

        sound, least = self._sound(), int(_LEAST_KEY_SECONDS * RATE_HZ)
        by_key = chances(self._network, np.resize(sound, least) if len(sound) < least else sound)
        return {name: unmoved(by_key, duration_seconds) for name in self._wishes}


class BeatTransformerEar:
    """`beat-transformer`: beats and downbeats. Keeps spectra alone."""

    rate_hz = mix_parts.RATE_HZ

    def __init__(self, wishes: Mapping[str, Settings], path: str) -> None:
        self._wishes = wishes
        self._network = published_networks.beat_transformer(path)
        self._mel = mix_parts.MelListener()

    def push(self, block: Array) -> None:
        """Listens to the next mono block at 44.1 kHz."""
        self._mel.push(block)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """The rhythm, by two parts of the mix."""
        from chorale_analysis.networks.beat_transformer import activations

        parts = mix_parts.decibels(mix_parts.split(self._mel.finish()))
        heard = activations(self._network, parts)
        return {
            name: bar_rhythm.rhythm_of(
                heard, mix_parts.FRAMES_PER_SECOND, duration_seconds, settings, (3, 4)
            )
            for name, settings in self._wishes.items()
            if isinstance(settings, RhythmSettings)
        }


_EARS: dict[str, Callable[[Mapping[str, Settings], str], Ear]] = {
    "beatnet": BeatNetEar,
    "skey": SKeyEar,
    "beat-transformer": BeatTransformerEar,
    "chord-cnn-lstm": ChordCnnLstmEar,
}
