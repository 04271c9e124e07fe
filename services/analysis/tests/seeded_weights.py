"""Checkpoints in the published layouts, drawn from a seed: nobody trained them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from chorale_analysis.networks.beat_transformer import BeatTransformer
from chorale_analysis.networks.btc import BTC
from chorale_analysis.networks.chord_cnn_lstm import ChordCnnLstm
from chorale_analysis.weights import (
    BEAT_TRANSFORMER,
    BTC_MAJMIN,
    BTC_PL,
    BTC_SL,
    CHORD_CNN_LSTM,
)

MEAN, DEVIATION = -2.2, 1.7  # of log constant-Q magnitudes


def _btc(file: Path) -> None:
    """As PyTorch wrote in 2019, with numbers of numpy 1."""
    numbers = {"mean": np.float64(MEAN), "std": np.float64(DEVIATION)}
    torch.save(
        {"model": BTC(170).state_dict(), **numbers}, file, _use_new_zipfile_serialization=False
    )


def _student(file: Path) -> None:
    """As trained on several devices."""
    state = {f"module.{name}": value for name, value in BTC(170).state_dict().items()}
    numbers = {"mean": torch.tensor(MEAN), "std": torch.tensor(DEVIATION)}
    torch.save({"model_state_dict": state, "epoch": 7, **numbers}, file)


def _majmin(file: Path) -> None:
    torch.save({"model": BTC(25).state_dict(), "mean": MEAN, "std": DEVIATION}, file)


def _folds(file: Path) -> None:
    for name in (CHORD_CNN_LSTM.file, *CHORD_CNN_LSTM.beside):
        state = {"net": ChordCnnLstm().state_dict(), "opt": {"state": {}}, "counter": 1}
        torch.save(state, file.with_name(name))


def _beats(file: Path) -> None:
    torch.save({"state_dict": BeatTransformer().state_dict(), "epoch": 3}, file)


_WRITERS: dict[str, Callable[[Path], None]] = {
    BTC_SL.file: _btc,
    BTC_PL.file: _student,
    BTC_MAJMIN: _majmin,
    CHORD_CNN_LSTM.file: _folds,
    BEAT_TRANSFORMER.file: _beats,
}


def put(directory: Path, *files: str) -> None:
    """Writes these (`CHORD_CNN_LSTM.file` with the four beside it)."""
    for file in files:
        torch.manual_seed(len(file))
        _WRITERS[file](directory / file)
