"""Networks with their published weights, kept as long as their files stay what they are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chorale_analysis.weights import (
    BEAT_TRANSFORMER,
    BEATNET,
    BTC_MAJMIN,
    BTC_PL,
    BTC_SL,
    CHORD_CNN_LSTM,
    SKEY,
    Stamp,
    WeightsRefused,
    fill,
    number,
    part,
)

if TYPE_CHECKING:
    import torch

    from chorale_analysis.networks.beat_transformer import BeatTransformer
    from chorale_analysis.networks.beatnet import BeatNet
    from chorale_analysis.networks.btc import BTC
    from chorale_analysis.networks.chord_cnn_lstm import ChordCnnLstm
    from chorale_analysis.networks.skey import SKey

    Network = TypeVar("Network", bound=torch.nn.Module)

_MODEL = ("model", "model_state_dict")  # what the authors of BTC and those of its student call it


@dataclass(frozen=True)
class Btc:
    """The network, and what it was taught to take off and to divide by."""

    network: "BTC"
    mean: float
    deviation: float


def beatnet(path: str) -> "BeatNet":
    """BeatNet's; raises `WeightsRefused`, as the others do."""
    return _beatnet(path, BEATNET.stamp(path))


def skey(path: str) -> "SKey":
    """S-KEY's."""
    return _skey(path, SKEY.stamp(path))


def beat_transformer(path: str) -> "BeatTransformer":
    """Beat Transformer's."""
    return _beat_transformer(path, BEAT_TRANSFORMER.stamp(path))


def btc(path: str, maker: str, chords: int) -> Btc:
    """BTC's with so many chords: 170, or the 25 whose file may lie beside."""
    weights = BTC_PL if maker == "btc-pl" else BTC_SL
    file = path if chords != _MAJMIN else str(Path(path).with_name(BTC_MAJMIN))
    return _btc(file, weights.stamp(path), chords)


def chord_cnn_lstm(path: str) -> tuple["ChordCnnLstm", ...]:
    """All five of Chord-CNN-LSTM."""
    return _chord_cnn_lstm(path, CHORD_CNN_LSTM.stamp(path))


_MAJMIN = 25


@lru_cache(1)
def _beatnet(path: str, _: Stamp) -> "BeatNet":
    from chorale_analysis.networks.beatnet import BeatNet

    return _filled(BeatNet, BEATNET.read(path), BEATNET.file)


@lru_cache(1)
def _skey(path: str, _: Stamp) -> "SKey":
    from chorale_analysis.networks.skey import SKey

    return _filled(SKey, part(SKEY.read(path), ("stone",), SKEY.file), SKEY.file)


@lru_cache(1)
def _beat_transformer(path: str, _: Stamp) -> "BeatTransformer":
    from chorale_analysis.networks.beat_transformer import BeatTransformer

    loaded = BEAT_TRANSFORMER.read(path)
    file = BEAT_TRANSFORMER.file
    return _filled(BeatTransformer, part(loaded, ("state_dict",), file), file)


@lru_cache(2)
def _btc(path: str, _: Stamp, chords: int) -> Btc:
    from chorale_analysis.networks.btc import BTC

    file = Path(path).name
    loaded = BTC_SL.read(path)
    mean, deviation = (number(loaded, name, file) for name in ("mean", "std"))
    if deviation <= 0.0:
        raise WeightsRefused(file, f"std is {deviation:g}; it must be above 0")
    return Btc(_filled(lambda: BTC(chords), part(loaded, _MODEL, file), file), mean, deviation)


@lru_cache(1)
def _chord_cnn_lstm(path: str, _: Stamp) -> tuple["ChordCnnLstm", ...]:
    from chorale_analysis.networks.chord_cnn_lstm import ChordCnnLstm

    networks = []
    for file in (CHORD_CNN_LSTM.file, *CHORD_CNN_LSTM.beside):
        loaded = CHORD_CNN_LSTM.read(str(Path(path).with_name(file)))
        networks.append(_filled(ChordCnnLstm, part(loaded, ("net",), file), file))
    return tuple(networks)


def _filled(make: "Callable[[], Network]", weights: object, file: str) -> "Network":
    network = make()
    fill(network, weights, file)
    return network
