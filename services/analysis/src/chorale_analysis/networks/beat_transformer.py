"""Beat Transformer: attention over time that reaches twice as far in each layer, and over parts.

Zhao, Xia and Wang, "Beat Transformer: Demixed Beat and Downbeat Tracking with Dilated
Self-Attention", ISMIR 2022; layout of `fold_*_trf_param.pt` (MIT).
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from chorale_analysis.spectra import Array

BANDS = 128
FRAMES_AT_ONCE = 7752  # 180 s, as it was trained; also bounds memory
_MARGIN = 1024  # what nine layers of the heads that look to both sides alike reach
_CONVOLVED_AT_ONCE, _CONVOLUTIONS_REACH = 1024, 3  # bounds memory
_WIDE, _HEADS, _INNER, _LAYERS, _SEEN = 256, 8, 1024, 9, 5
_BETWEEN_PARTS = (3, 4, 5)  # layers after which parts hear each other
_TEMPI = 300
# Where the five frames that each head sees begin, in steps of its layer: four heads look to both
# sides alike, four are skewed. The last head compares keys of the one before it: the published
# weights were trained so.
_BEGINS = (-2, -2, -2, -2, -4, -3, -1, 0)
_KEYS = (0, 1, 2, 3, 4, 5, 6, 6)


class _DilatedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key, self.value, self.query = (nn.Linear(_WIDE, _WIDE) for _ in range(3))
        self.Er = nn.Parameter(torch.randn(_HEADS, _WIDE // _HEADS, _SEEN))

    def forward(self, heard: torch.Tensor, step: int) -> torch.Tensor:
        """`(parts, frames, 256)`, each frame told by five that are `step` apart."""
        frames = heard.shape[1]
        query, key, value = (
            part(heard).unflatten(2, (_HEADS, -1)) for part in (self.query, self.key, self.value)
        )  # (parts, frames, heads, 32)
        key = key[:, :, list(_KEYS)]
        place = torch.arange(frames)[:, None] + step * torch.tensor(_BEGINS)  # (frames, heads)
        head = torch.arange(_HEADS)
        likeness = []
        for number in range(_SEEN):
            at = place + number * step
            likely = (query * key[:, at.clamp(0, frames - 1), head]).sum(-1)
            likely = likely + (query * self.Er[:, :, number]).sum(-1)
            outside = (at < 0) | (at >= frames)
            likeness.append(likely.masked_fill(outside, float("-inf")))
        scale = math.sqrt(query.shape[-1])
        weights = (torch.stack(likeness, dim=-1) / scale).softmax(dim=-1)
        told = torch.zeros_like(query)
        for number in range(_SEEN):
            at = (place + number * step).clamp(0, frames - 1)
            told = told + weights[..., number, None] * value[:, at, head]
        return told.flatten(2)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = _DilatedAttention()
        self.linear1, self.linear2 = nn.Linear(_WIDE, _INNER), nn.Linear(_INNER, _WIDE)
        self.norm1, self.norm2 = nn.LayerNorm(_WIDE), nn.LayerNorm(_WIDE)

    def forward(self, heard: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What is told on, and what attention added."""
        seen = self.self_attn(self.norm1(heard), step)
        heard = heard + seen
        return heard + self.linear2(functional.gelu(self.linear1(self.norm2(heard)))), seen


class BeatTransformer(nn.Module):
    """Log-mel spectra of any parts of a mix to the logits of beats, downbeats and tempi.

    It was trained on five stems and, half of the time, on two to four sums of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, (5, 3), padding=(2, 0))
        self.conv2 = nn.Conv2d(32, 64, (1, 12))
        self.conv3 = nn.Conv2d(64, _WIDE, (3, 6), padding=(1, 0))
        self.Transformer_layers = nn.ModuleDict()
        for number in range(_LAYERS):
            self.Transformer_layers[f"time_attention_{number}"] = _Layer()
            if number in _BETWEEN_PARTS:
                self.Transformer_layers[f"instr_attention_{number}"] = nn.TransformerEncoderLayer(
                    _WIDE, _HEADS, _INNER, batch_first=True, norm_first=True
                )
        self.out_linear = nn.Linear(_WIDE, 2)
        self.out_linear_t = nn.Linear(_WIDE, _TEMPI)

    def forward(self, parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(parts, frames, 128)` to `(frames, 2)` and, of each BPM from 0 on, `(300,)`."""
        heard = self._convolved(parts)
        added = torch.zeros_like(heard[0])
        for number in range(_LAYERS):
            heard, seen = self.Transformer_layers[f"time_attention_{number}"](heard, 1 << number)
            added = added + seen.mean(dim=0)
            if number in _BETWEEN_PARTS:
                layer = self.Transformer_layers[f"instr_attention_{number}"]
                heard = layer(heard.transpose(0, 1)).transpose(0, 1)
        beats: torch.Tensor = self.out_linear(torch.relu(heard).mean(dim=0))
        tempi: torch.Tensor = self.out_linear_t(torch.relu(added).mean(dim=0))
        return beats, tempi

    def _convolved(self, parts: torch.Tensor) -> torch.Tensor:
        """`(parts, frames, 256)`, some frames at a time with those around them."""
        pieces = []
        for first in range(0, parts.shape[1], _CONVOLVED_AT_ONCE):
            before = min(first, _CONVOLUTIONS_REACH)
            after = first + _CONVOLVED_AT_ONCE + _CONVOLUTIONS_REACH
            heard = parts[:, None, first - before : after]
            for number in (1, 2, 3):
                heard = self.get_submodule(f"conv{number}")(heard)
                heard = torch.relu(functional.max_pool2d(heard, (1, 3)))
            pieces.append(heard.squeeze(3)[:, :, before : before + _CONVOLVED_AT_ONCE])
        return torch.cat(pieces, dim=2).transpose(1, 2)


def activations(network: BeatTransformer, parts: Array) -> npt.NDArray[np.float64]:
    """Chances of a beat that is none of the first, and of a first, by `(parts, frames, 128)`."""
    frames = parts.shape[1]
    told = np.zeros((frames, 2))
    step = FRAMES_AT_ONCE - 2 * _MARGIN
    for first in range(0, max(1, frames - 2 * _MARGIN), step):
        stretch = torch.from_numpy(parts[:, first : first + FRAMES_AT_ONCE])
        with torch.inference_mode():
            chances = torch.sigmoid(network(stretch)[0]).double().numpy()
        begin = first + _MARGIN if first else 0
        told[begin : first + len(chances)] = chances[begin - first :]
    return np.stack([np.maximum(told[:, 0] - told[:, 1], 0.0), told[:, 1]], axis=1)
