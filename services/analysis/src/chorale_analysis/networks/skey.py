"""S-KEY's network: a variable-Q transform, blocks of ConvNeXt, and octaves folded to 24 keys.

Kong et al., ICASSP 2025; layout of `skey.pt` (MIT).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from chorale_analysis.spectra import Array

RATE_HZ = 22050
_HOP, _OCTAVES, _BINS, _KEPT = 512, 9, 99, 84
_WIDTHS = (2, 3, 40, 40, 30, 10, 3)
_KERNELS = (7, 7, 7, 7, 7, 5, 5)
_RANGE_DB, _LEAST_POWER = 80.0, 1e-10


class _Transform(nn.Module):
    """Magnitudes of 99 semitones from A0 on, an octave at a time, each at half the rate before.

    Its kernels are part of the checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lowpass_filter", torch.zeros(1, 1, 256))
        self.register_buffer("lenghts", torch.zeros(_BINS))
        for octave in range(_OCTAVES):
            for part in ("real", "imag"):
                self.register_buffer(f"cqt_kernels_{part}_{octave}", torch.zeros(12, 1, 128))

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        """`(1, 1, samples)` to decibels in [0, 1], `(1, 1, 99, frames)`."""
        octaves: list[torch.Tensor] = []
        for octave in range(_OCTAVES):
            if octave:
                lowpass = self.get_buffer("lowpass_filter")
                sound = functional.conv1d(sound, lowpass, stride=2, padding=127)
            padded = functional.pad(sound, (64, 64), mode="reflect")
            parts = [
                functional.conv1d(
                    padded, self.get_buffer(f"cqt_kernels_{part}_{octave}"), stride=_HOP >> octave
                )
                for part in ("real", "imag")
            ]
            octaves.insert(0, torch.stack(parts, dim=-1))
        frames = min(part.shape[2] for part in octaves)
        bins = torch.cat([part[:, :, :frames] for part in octaves], dim=1)[:, -_BINS:]
        magnitudes = bins.pow(2).sum(-1).sqrt() * self.get_buffer("lenghts").sqrt()[None, :, None]
        level = 10.0 * torch.log10(magnitudes.clamp(min=_LEAST_POWER))
        level = torch.maximum(level, level.max() - _RANGE_DB)
        return (level / _RANGE_DB + 1.0)[:, None]


class _Block(nn.Module):
    """Depthwise convolution and a narrow perceptron, added to what came in."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 0.1))
        self.dwconv = nn.Conv2d(
            width, width, kernel, padding=kernel // 2, groups=width, padding_mode="replicate"
        )
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        found = self.dwconv(heard)
        found = functional.layer_norm(found, found.shape[1:]).permute(0, 2, 3, 1)
        found = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(found)))
        added: torch.Tensor = heard + found.permute(0, 3, 1, 2)
        return added


class _Halving(nn.Module):
    """Half as many frames."""

    def __init__(self, wide: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, width, (1, 2), stride=(1, 2))

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        halved: torch.Tensor = self.conv(functional.layer_norm(heard, heard.shape[1:]))
        return functional.gelu(halved)


class _ChromaNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        wide = (1, *_WIDTHS[:-1])
        self.convnext_blocks = nn.ModuleList(
            _Block(width, kernel) for width, kernel in zip(_WIDTHS, _KERNELS, strict=True)
        )
        self.time_downsampling_blocks = nn.ModuleList(
            _Halving(before, width) for before, width in zip(wide, _WIDTHS, strict=True)
        )
        self.classifier = nn.Conv2d(_WIDTHS[-1], 2, 1)
        self.batch_norm = nn.BatchNorm2d(2, affine=False)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        """`(1, 1, 84, frames)` to the logits of 24 keys."""
        pairs = zip(self.time_downsampling_blocks, self.convnext_blocks, strict=True)
        for halving, block in pairs:
            heard = block(halving(heard))
        octaves = heard.reshape(1, heard.shape[1], -1, 12, heard.shape[3])
        folded = octaves.mean(dim=(2, 4))[..., None]
        logits: torch.Tensor = self.batch_norm(self.classifier(folded)).flatten(1)
        return logits


class SKey(nn.Module):
    """Sound to the logits of 24 keys."""

    def __init__(self) -> None:
        super().__init__()
        self.hcqt = _Transform()
        self.chromanet = _ChromaNet()

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        """`(samples,)` to `(24,)`."""
        heard: torch.Tensor = self.hcqt(sound[None, None])
        logits: torch.Tensor = self.chromanet(heard[:, :, :_KEPT])
        return logits[0]


def chances(network: SKey, sound: Array) -> npt.NDArray[np.float64]:
    """The chance of each key: 12 major from C, then 12 minor from C."""
    loudest = float(np.abs(sound).max(initial=0.0))
    with torch.inference_mode():
        logits = network(torch.from_numpy(sound / max(loudest, 1e-9)))
        found = torch.softmax(logits, dim=0).double().numpy()
    major, minor = np.roll(found[:12], 9), np.roll(found[12:], 11)  # it counts from A and from B
    return np.concatenate([major, minor])
