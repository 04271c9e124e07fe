"""Chord-CNN-LSTM: six questions about every hop, whose answers together are a chord.

Jiang, Chen, Li and Xia, "Large-Vocabulary Chord Transcription via Chord Structure Decomposition",
ISMIR 2019; layout of `joint_chord_net_ismir_naive_*.sdict` (MIT).
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from chorale_analysis.spectra import Array

BINS, SKIPPED_BINS = 252, 18  # it hears these, after so many of the transform
HEADS = (73, 13, 4, 4, 3, 3)  # triad and root, bass, seventh, ninth, eleventh, thirteenth
FRAMES_AT_ONCE = 4096  # 95 s: bounds memory; it was trained on 1000
_MARGIN = 256
_CHANNELS = {
    "1a": (1, 16), "1b": (16, 16), "1c": (16, 16),
    "2a": (16, 32), "2b": (32, 32), "2c": (32, 32),
    "3a": (32, 64), "3b": (64, 64),
    "4a": (64, 80), "4b": (80, 80),
}  # fmt: skip
_POOLED = {"1c": 3, "2c": 3, "3b": 4}  # how many bins become one after these
_NARROWING = ("4a", "4b")  # without padding: 7 bins become 3
_HEARD = 3 * 80
_UNITS = 96
_CONDITION = (_HEARD + 12 + 6 + 12, 128)


class _Convolutions(nn.Module):
    """Small convolutions over time and pitch, each evened out over the whole stretch."""

    def __init__(self) -> None:
        super().__init__()
        for name, (wide, width) in _CHANNELS.items():
            padding = (1, 0) if name in _NARROWING else (1, 1)
            self.add_module(f"conv{name}", nn.Conv2d(wide, width, 3, padding=padding))

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        heard = heard[:, None]
        for name in _CHANNELS:
            heard = self.get_submodule(f"conv{name}")(heard)
            heard = functional.selu(functional.instance_norm(heard))
            if name in _POOLED:
                heard = functional.max_pool2d(heard, (1, _POOLED[name]))
        return heard.transpose(1, 2).flatten(2)  # (stretches, hops, 80 channels of 3)


class ChordCnnLstm(nn.Module):
    """Constant-Q spectra to the logits of six heads.

    `condition_linear` is part of the published layout, and asked by nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_feature_block = _Convolutions()
        self.condition_linear = nn.Linear(*_CONDITION)
        self.lstm1 = nn.LSTM(_HEARD, _UNITS, bidirectional=True, batch_first=True)
        self.final_fc1 = nn.Linear(2 * _UNITS, sum(HEADS))

    def forward(self, heard: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """`(stretches, hops, 252)` to six of `(stretches, hops, answers)`."""
        states, _ = self.lstm1(self.audio_feature_block(heard))
        return tuple(self.final_fc1(states).split(HEADS, dim=2))


def answers(networks: tuple[ChordCnnLstm, ...], heard: Array) -> tuple[Array, ...]:
    """The chance of every answer of every head, `(hops, answers)`: the mean of all networks.

    Long sound is heard in stretches that overlap, of which the middles are told.
    """
    told = tuple(np.zeros((len(heard), size), np.float32) for size in HEADS)
    step = FRAMES_AT_ONCE - 2 * _MARGIN
    for first in range(0, max(1, len(heard) - 2 * _MARGIN), step):
        stretch = torch.from_numpy(heard[first : first + FRAMES_AT_ONCE])[None]
        after = first + FRAMES_AT_ONCE < len(heard)
        begin = first + _MARGIN if first else 0
        end = first + FRAMES_AT_ONCE - _MARGIN if after else len(heard)
        for network in networks:
            with torch.inference_mode():
                logits = network(stretch)
            for head, found in zip(told, logits, strict=True):
                chances = torch.softmax(found[0, begin - first : end - first], dim=1)
                head[begin:end] += chances.numpy() / len(networks)
    return told
