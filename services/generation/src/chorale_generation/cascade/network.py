"""The cascade: transformers that turn the encodings of two tracks into one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

# Torch's own short cut for whole layers takes more than twice the time of what it goes around.
torch.backends.mha.set_fastpath_enabled(False)

DIMENSION, HEADS, LAYERS, STAGES_MAX = 128, 8, 4, 8


@dataclass(frozen=True)
class Shape:
    """What decides the weights of a cascade."""

    stage_count: int = 2
    dimension: int = DIMENSION
    heads: int = HEADS
    layers: int = LAYERS
    has_masks: bool = False


class SimpleTransformer(nn.Module):
    """One stage: what the stage before made, beside both tracks, becomes the next guess.

    All steps attend to one another at once; nothing is cached, because nothing comes later.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.joining = nn.Linear(3 * shape.dimension, shape.dimension)
        layer = nn.TransformerEncoderLayer(
            shape.dimension,
            shape.heads,
            4 * shape.dimension,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
        self.leaving = nn.Linear(shape.dimension, shape.dimension)
        nn.init.zeros_(self.leaving.weight)
        nn.init.zeros_(self.leaving.bias)

    def forward(
        self, guess: torch.Tensor, one: torch.Tensor, other: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        """`[batch, steps, dimension]` each; the guess, corrected."""
        joined = self.joining(torch.cat([guess, one, other], dim=-1)) + places
        correction: torch.Tensor = self.leaving(self.layers(joined))
        return guess + correction


class Cascade(nn.Module):
    """Stages after one another, the first of which begins with the first track.

    Encodings are brought to mean 0 and deviation 1 of what it was trained on, so that weights of
    codecs of any scale learn alike. Where it has masks, these say at each step how much of either
    track stages hear; half of each is both as they are.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.stages = nn.ModuleList(SimpleTransformer(shape) for _ in range(shape.stage_count))
        self.masking = _masking(shape) if shape.has_masks else None
        self.register_buffer("mean", torch.zeros(shape.dimension))
        self.register_buffer("deviation", torch.ones(shape.dimension))

    def forward(
        self,
        one: torch.Tensor,
        other: torch.Tensor,
        stage_count: int = 0,
        complementary: bool | None = None,
    ) -> torch.Tensor:
        """Encodings `[batch, dimension, steps]` of both tracks become those of one."""
        first, second = self._scaled(one), self._scaled(other)
        places = _places(first.shape[1], first.shape[2]).to(first)
        guess = first
        if self.masking is not None:
            masks = self._masks(first, second, complementary)
            first, second = (2.0 * masks[..., :1]) * first, (2.0 * masks[..., 1:]) * second
        for stage in list(self.stages)[: stage_count or len(self.stages)]:
            guess = stage(guess, first, second, places)
        return (guess * self.deviation + self.mean).transpose(1, 2)

    def masks(
        self, one: torch.Tensor, other: torch.Tensor, complementary: bool | None = None
    ) -> torch.Tensor:
        """How much of both tracks is let through, `[batch, steps, 2]`: all without masks."""
        first, second = self._scaled(one), self._scaled(other)
        if self.masking is None:
            return torch.ones_like(first[..., :2])
        return self._masks(first, second, complementary)

    def _masks(
        self, first: torch.Tensor, second: torch.Tensor, complementary: bool | None
    ) -> torch.Tensor:
        """One is free where the other leads, as it was trained, or each is on its own."""
        assert self.masking is not None
        wishes: torch.Tensor = self.masking(torch.cat([first, second], dim=-1)).float()
        return torch.sigmoid(wishes) if complementary is False else torch.softmax(wishes, dim=-1)

    def _scaled(self, encoding: torch.Tensor) -> torch.Tensor:
        return (encoding.transpose(1, 2) - self.mean) / self.deviation


def _masking(shape: Shape) -> nn.Linear:
    """What both tracks have to say of each other; at first nothing."""
    layer = nn.Linear(2 * shape.dimension, 2)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def shape_of(weights: Mapping[str, torch.Tensor]) -> Shape:
    """What a cascade with these weights is: how many stages it has, and whether it has masks."""
    stages = {name.split(".")[1] for name in weights if name.startswith("stages.")}
    return Shape(
        stage_count=max(1, min(STAGES_MAX, len(stages))), has_masks="masking.weight" in weights
    )


def expected_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a cascade, by name."""
    return {name: tuple(value.shape) for name, value in Cascade(shape).state_dict().items()}


def _places(steps: int, dimension: int) -> torch.Tensor:
    """Where each step is, as sines: any length, and nothing to learn."""
    moments = torch.arange(steps, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, dimension, 2) * (-9.2103404 / dimension))
    return torch.stack([torch.sin(moments * rates), torch.cos(moments * rates)], -1).flatten(1)
