"""BTC: chords by attention to what was before and, apart from it, to what comes after.

Park, Choi, Jeon, Kim and Park, "A Bi-Directional Transformer for Musical Chord Recognition", ISMIR
2019; layout of `btc_model*.pt` (MIT).
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from chorale_analysis.spectra import Array

BINS, FRAMES = 144, 108  # of one window, which is what it was trained on
_WIDE, _HEADS, _LAYERS = 128, 4, 8
_EPSILON = 1e-6
_SLOWEST = 1e4  # of the waves that tell where in the window a frame is


class _Norm(nn.Module):
    """Each frame less its mean, against its own deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(_WIDE))
        self.beta = nn.Parameter(torch.zeros(_WIDE))

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        centred = heard - heard.mean(-1, keepdim=True)
        return self.gamma * centred / (heard.std(-1, keepdim=True) + _EPSILON) + self.beta


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for part in ("query", "key", "value", "output"):
            self.add_module(f"{part}_linear", nn.Linear(_WIDE, _WIDE, bias=False))

    def forward(self, heard: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """`hidden` is where a frame may not look: `(frames, frames)`."""
        query, key, value = (
            self.get_submodule(f"{part}_linear")(heard)
            .unflatten(-1, (_HEADS, -1))
            .transpose(1, 2)  # (windows, heads, frames, 32)
            for part in ("query", "key", "value")
        )
        likeness = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
        weights = likeness.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        seen = (weights @ value).transpose(1, 2).flatten(2)
        told: torch.Tensor = self.get_submodule("output_linear")(seen)
        return told


class _Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(_WIDE, _WIDE, 3, padding=1)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        told: torch.Tensor = self.conv(heard.transpose(1, 2)).transpose(1, 2)
        return told


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Convolution(), _Convolution()])

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:  # the last is rectified too
            heard = functional.relu(layer(heard))
        return heard


class _Block(nn.Module):
    """Attention and convolution, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.multi_head_attention = _Attention()
        self.positionwise_convolution = _Convolutions()
        self.layer_norm_mha, self.layer_norm_ffn = _Norm(), _Norm()

    def forward(self, heard: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        heard = heard + self.multi_head_attention(self.layer_norm_mha(heard), hidden)
        told: torch.Tensor = heard + self.positionwise_convolution(self.layer_norm_ffn(heard))
        return told


class _BothWays(nn.Module):
    """One block that sees what was, one that sees what comes, and both as one."""

    def __init__(self) -> None:
        super().__init__()
        self.attn_block, self.backward_attn_block = _Block(), _Block()
        self.linear = nn.Linear(2 * _WIDE, _WIDE)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        after = torch.ones(heard.shape[1], heard.shape[1], dtype=torch.bool).triu(1)
        parts = self.attn_block(heard, after), self.backward_attn_block(heard, after.T)
        told: torch.Tensor = self.linear(torch.cat(parts, dim=2))
        return told


class _Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding_proj = nn.Linear(BINS, _WIDE, bias=False)
        self.self_attn_layers = nn.Sequential(*(_BothWays() for _ in range(_LAYERS)))
        self.layer_norm = _Norm()

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        told: torch.Tensor = self.layer_norm(
            self.self_attn_layers(self.embedding_proj(heard) + _waves(heard.shape[1]))
        )
        return told


class _Output(nn.Module):
    """The published layout has a recurrent layer that the published network never asks."""

    def __init__(self, chords: int) -> None:
        super().__init__()
        self.output_projection = nn.Linear(_WIDE, chords)
        self.lstm = nn.LSTM(_WIDE, _WIDE // 2, batch_first=True, bidirectional=True)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output_projection(heard)
        return logits


class BTC(nn.Module):
    """Windows of log constant-Q spectra to the logits of chords."""

    def __init__(self, chords: int) -> None:
        super().__init__()
        self.self_attn_layers = _Layers()
        self.output_layer = _Output(chords)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        """`(windows, 108, 144)` to `(windows, 108, chords)`."""
        logits: torch.Tensor = self.output_layer(self.self_attn_layers(heard))
        return logits


def _waves(frames: int) -> torch.Tensor:
    """Sines and cosines, from fast to slow: `(frames, 128)`."""
    places = torch.arange(frames, dtype=torch.float64)[:, None]
    speeds = _SLOWEST ** -torch.linspace(0.0, 1.0, _WIDE // 2, dtype=torch.float64)
    return torch.cat([torch.sin(places * speeds), torch.cos(places * speeds)], dim=1).float()


def chances(network: BTC, window: Array) -> Array:
    """The chance of every chord at every frame of one window: `(frames, chords)`."""
    padded = np.zeros((FRAMES, BINS), np.float32)
    padded[: len(window)] = window
    with torch.inference_mode():
        found = torch.softmax(network(torch.from_numpy(padded)[None])[0], dim=1)
    told: Array = found[: len(window)].numpy()
    return told
