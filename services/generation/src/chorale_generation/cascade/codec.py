"""EnCodec at 24 kHz, by the classes of its package."""

import importlib.util
import sys
import types
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from encodec.model import EncodecModel

RATE_HZ, HOP_FRAMES, DIMENSION = 24000, 320, 128
CODEBOOK_COUNT, CODEBOOK_SIZE = 32, 1024


def untrained() -> "EncodecModel":
    """The codec without weights, ready to be given some. Nothing is downloaded."""
    _without_torchaudio()
    from encodec.model import EncodecModel

    with warnings.catch_warnings():
        # The names of published weights are those of the old weight norm, which torch deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        model: EncodecModel = EncodecModel.encodec_model_24khz(pretrained=False)
    return model


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every weight of the codec, by name."""
    import torch

    with torch.device("meta"):  # shapes without numbers: nothing is drawn
        weights = untrained().state_dict()
    return {name: tuple(value.shape) for name, value in weights.items()}


def has_empty_codebooks(weights: "Mapping[str, torch.Tensor]") -> bool:
    """Whether any codebook is all zero, which makes every code the same."""
    codebooks = [value for name, value in weights.items() if name.endswith("_codebook.embed")]
    return not codebooks or any(not bool(value.any()) for value in codebooks)


def _without_torchaudio() -> None:
    """encodec imports torchaudio for resampling and losses that are not used here.

    Its builds need a CUDA that a machine without a GPU has not. An empty module stands in where
    there is none; whoever used it would get an AttributeError that names it.
    """
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is not None:
        return
    module = types.ModuleType("torchaudio")
    module.transforms = types.ModuleType("torchaudio.transforms")  # type: ignore[attr-defined]
    sys.modules["torchaudio"] = module
    sys.modules["torchaudio.transforms"] = module.transforms
