"""EnCodec at 24 kHz, by the classes of its package."""

import importlib.util
import sys
import types
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chorale_generation.cascade.asked import BANDWIDTHS_KBPS

if TYPE_CHECKING:
    import torch
    from encodec.model import EncodecModel

RATE_HZ, HOP_FRAMES, DIMENSION = 24000, 320, 128
STEPS_PER_SECOND = RATE_HZ // HOP_FRAMES
FILTERS_LEAST, FILTERS_MOST, CODEBOOKS_MOST = 2, 64, 32
CODEBOOK_SIZES = (16, 32, 64, 128, 256, 512, 1024)
_KMEANS_ROUNDS = 10


@dataclass(frozen=True)
class Shape:
    """What decides the weights of a codec; the defaults are those of the published one."""

    filters: int = 32
    codebook_count: int = 32
    codebook_size: int = 1024


def untrained(shape: Shape | None = None, norm: str = "weight_norm") -> "EncodecModel":
    """The codec without weights, ready to be given some. Nothing is downloaded."""
    shape = shape or Shape()
    _without_torchaudio()
    from encodec.model import EncodecModel
    from encodec.modules.seanet import SEANetDecoder, SEANetEncoder
    from encodec.quantization.vq import ResidualVectorQuantizer

    sizes: dict[str, Any] = {"dimension": DIMENSION, "n_filters": shape.filters, "causal": True}
    with warnings.catch_warnings():
        # The names of published weights are those of the old weight norm, which torch deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        encoder = SEANetEncoder(channels=1, norm=norm, **sizes)
        decoder = SEANetDecoder(channels=1, norm=norm, **sizes)
    quantizer = ResidualVectorQuantizer(
        DIMENSION, shape.codebook_count, shape.codebook_size, kmeans_iters=_KMEANS_ROUNDS
    )
    bandwidths = list(BANDWIDTHS_KBPS)
    model = EncodecModel(encoder, decoder, quantizer, bandwidths, RATE_HZ, 1, name="chorale")
    return model.eval()


def shape_of(weights: "Mapping[str, torch.Tensor]") -> Shape:
    """What a codec with these weights is; weights that fit none are refused by their shapes."""
    first = weights.get("encoder.model.0.conv.conv.weight_v")
    filters = len(first) // 2 * 2 if first is not None and first.ndim else 0
    codebooks = [value for name, value in weights.items() if name.endswith("_codebook.embed")]
    size = len(codebooks[0]) if codebooks and codebooks[0].ndim else 0
    return Shape(
        min(FILTERS_MOST, max(FILTERS_LEAST, filters)),
        min(CODEBOOKS_MOST, max(1, len(codebooks))),
        size if size in CODEBOOK_SIZES else CODEBOOK_SIZES[-1],
    )


def codebooks_for(bandwidth_kbps: float, codebook_size: int) -> int:
    """How many codebooks of a size a bandwidth holds, at least one."""
    bits = STEPS_PER_SECOND * (codebook_size.bit_length() - 1)
    return max(1, min(CODEBOOKS_MOST, int(1000 * bandwidth_kbps // bits)))


def expected_shapes(shape: Shape | None = None) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a codec, by name."""
    import torch

    # Shapes without numbers: nothing is drawn. Without its norm, because torch takes seconds to
    # import what works a norm out of no numbers.
    with torch.device("meta"):
        weights = untrained(shape, norm="none").state_dict()
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [name for name in shapes if name.endswith(("conv.weight", "convtr.weight"))]:
        sizes = shapes.pop(name)
        shapes |= {f"{name}_v": sizes, f"{name}_g": (sizes[0], *(1 for _ in sizes[1:]))}
    return shapes


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
