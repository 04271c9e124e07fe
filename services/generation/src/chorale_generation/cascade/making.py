"""Two tracks through the codec and the cascade."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from chorale_generation.cascade import codec, network
from chorale_generation.cascade.asked import CascadeWishes, ModelPath
from chorale_generation.cascade.finishing import Mono, matched, notched, soft_limited
from chorale_generation.cascade.swift import swift
from chorale_generation.checking import check
from chorale_generation.checkpoints import CheckpointRefused, Weights
from chorale_generation.refusals import MemoryExhausted

if TYPE_CHECKING:
    from encodec.model import EncodecModel

WINDOW_SECONDS = 16.0
_SHORTEST_SECONDS = 2.0
_DIGEST_BYTES = 1 << 20
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Models:
    """The codec and the cascade, with their weights."""

    codec: "EncodecModel"
    cascade: network.Cascade


@dataclass(frozen=True)
class Made:
    """Sound at the codec's rate, and what had to give for memory."""

    sound: Mono
    concessions: tuple[str, ...]
    notches_hz: tuple[float, ...]


def loaded(codec_file: ModelPath, cascade_file: ModelPath) -> Models:
    """Loads weights whose digests hold; raises `CheckpointRefused` and `NotTrained`."""
    return Models(swift(loaded_codec(codec_file)), loaded_cascade(cascade_file))


def loaded_codec(file: ModelPath) -> "EncodecModel":
    """A codec; raises `CheckpointRefused` and `NotTrained`."""
    weights = _weights(file)
    model = codec.untrained(codec.shape_of(weights))
    model.load_state_dict(dict(weights))
    return model.eval()


def loaded_cascade(file: ModelPath) -> network.Cascade:
    """A cascade; raises `CheckpointRefused` and `NotTrained`."""
    weights = _weights(file)
    cascade = network.Cascade(network.shape_of(weights))
    cascade.load_state_dict(dict(weights))
    return cascade.eval()


def _weights(file: ModelPath) -> Weights:
    if _digest(file.path) != file.sha256:
        raise CheckpointRefused(file.name, "digest", "it is not the file that was registered")
    return check(file.path, file.name, "encodec-cascade", file.name)


def make(models: Models, one: Mono, other: Mono, wishes: CascadeWishes, tell: Tell) -> Made:
    """One track out of two of the same length, in windows that overlap.

    Where memory does not suffice windows are halved, and what gave is said.
    """
    models.codec.set_target_bandwidth(wishes.bandwidth_kbps)
    seconds, concessions = WINDOW_SECONDS, []
    while True:
        try:
            sound = _windows(models, one, other, wishes, seconds, tell)
            break
        except (torch.OutOfMemoryError, MemoryError) as error:
            if seconds <= _SHORTEST_SECONDS:
                raise MemoryExhausted("cpu", seconds) from error
            concessions.append(f"window {seconds:g} s -> {seconds / 2.0:g} s")
            seconds /= 2.0
    notches: list[float] = []
    if wishes.notch_outliers:
        sound, notches = notched(sound, codec.RATE_HZ)
    if wishes.match_level:
        sound = matched(sound, one)
    return Made(soft_limited(sound), tuple(concessions), tuple(notches))


def encoded(model: "EncodecModel", sound: torch.Tensor) -> torch.Tensor:
    """`[batch, 1, frames]` to `[batch, 128, steps]`: what the decoder would be given."""
    latent = model.encoder(sound)
    codes = model.quantizer.encode(latent, model.frame_rate, model.bandwidth)
    decoded: torch.Tensor = model.quantizer.decode(codes)
    return decoded


@torch.inference_mode()
def _windows(
    models: Models, one: Mono, other: Mono, wishes: CascadeWishes, seconds: float, tell: Tell
) -> Mono:
    length = min(len(one), round(seconds * codec.RATE_HZ))
    hop = max(1, round(length * (1.0 - wishes.overlap)))
    starts = list(range(0, max(1, len(one) - length + hop), hop))
    total = starts[-1] + length
    first, second = (np.pad(each, (0, max(0, total - len(each)))) for each in (one, other))
    made, weight = np.zeros(total, np.float32), np.zeros(total, np.float32)
    shape = np.minimum(np.arange(length) + 1, np.arange(length)[::-1] + 1).astype(np.float32)
    shape = np.minimum(shape / max(1, length - hop), 1.0)  # flat where windows do not overlap
    for number, start in enumerate(starts):
        at = slice(start, start + length)
        share = number / len(starts)
        tell("encoding", share)
        pair = torch.from_numpy(np.stack([first[at], second[at]])[:, None, :])
        latents = encoded(models.codec, pair)
        tell("generating", share)
        steps = models.cascade(latents[:1], latents[1:], wishes.stage_count)
        tell("decoding", share)
        sound = models.codec.decoder(steps)[0, 0, :length].numpy()
        made[at] += sound * shape
        weight[at] += shape
    joined: Mono = np.clip(made / weight, -1.0, 1.0)[: len(one)]
    return joined


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while data := file.read(_DIGEST_BYTES):
            digest.update(data)
    return digest.hexdigest()
