"""The same codec, the same numbers to the last bits, in less time on the CPU.

Weight norm is multiplied out once. Where the processor's convolutions are slow, products of
matrices stand in: transposed convolutions whose kernel is two strides long, convolutions of one
tap, and the last one, which makes a single channel.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from encodec.model import EncodecModel


def swift(model: "EncodecModel") -> "EncodecModel":
    """Makes a codec ready for the CPU, in place; what it was trained with stays untouched."""
    model.encoder.model = _chain(model.encoder.model)
    model.decoder.model = _chain(model.decoder.model)
    return model.eval()


class _Pointwise(nn.Module):
    """A convolution of one tap."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight, bias = _folded(layer.conv.conv)
        self.weight, self.bias = weight[:, :, 0].contiguous(), bias[:, None]

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        return torch.matmul(self.weight, sound).add_(self.bias)


class _Narrowing(nn.Module):
    """A causal convolution to one channel: every tap at once, then a sum of what is moved."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight, self.bias = _folded(layer.conv.conv)
        self.weight = weight[0].T.contiguous()

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        taps, count = len(self.weight), sound.shape[-1]
        padded = functional.pad(sound, (taps - 1, 0), mode="reflect")
        products = torch.matmul(self.weight, padded)
        made = products[:, :1, :count] + self.bias
        for tap in range(1, taps):
            made += products[:, tap : tap + 1, tap : tap + count]
        return made


class _Widening(nn.Module):
    """A causal transposed convolution: this step and the one before, for every phase at once."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight, bias = _folded(layer.convtr.convtr)  # (in, out, 2 strides)
        self.stride, self.channels = weight.shape[2] // 2, weight.shape[1]
        now, before = torch.split(weight, self.stride, dim=2)
        self.now, self.before = (
            each.permute(1, 2, 0).reshape(-1, each.shape[0]).contiguous() for each in (now, before)
        )
        self.bias = bias.repeat_interleave(self.stride)[:, None]

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        made = torch.matmul(self.now, sound).add_(self.bias)
        made[..., 1:] += torch.matmul(self.before, sound[..., :-1])
        batch, _, count = made.shape
        phases = made.view(batch, self.channels, self.stride, count)
        return phases.transpose(2, 3).reshape(batch, self.channels, count * self.stride)


class _Residual(nn.Module):
    """Two ways that are added."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.through, self.around = _chain(layer.block), _chain([layer.shortcut])

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.around(sound)
        return made.add_(self.through(sound))


def _chain(layers: Iterable[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*_swift(layers))


def _swift(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for number, layer in enumerate(layers):
        match type(layer).__name__:
            case "ELU" if number:  # the first is given what others read too
                yield nn.ELU(inplace=True)
            case "SEANetResnetBlock":
                yield _Residual(layer)
            case "SConvTranspose1d":
                yield _Widening(layer)
            case "SConv1d":
                yield _convolution(layer)
            case _:
                yield layer


def _convolution(layer: Any) -> nn.Module:
    convolution = layer.conv.conv
    if convolution.kernel_size == (1,):
        return _Pointwise(layer)
    if convolution.out_channels == 1:
        return _Narrowing(layer)
    # Its padding depends on how long the sound is: the package's own, with the norm folded in.
    weight, _ = _folded(convolution)
    nn.utils.remove_weight_norm(convolution)
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    layer_: nn.Module = layer
    return layer_


def _folded(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        weight = torch._weight_norm(layer.weight_v, layer.weight_g, 0)
        return weight, layer.bias.detach().clone()
