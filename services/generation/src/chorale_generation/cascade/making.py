"""Two tracks through the codec and the cascade."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from chorale_generation.cascade import codec, network
from chorale_generation.cascade.asked import CascadeWishes, Masks, ModelPath
from chorale_generation.cascade.finishing import Mono
from chorale_generation.cascade.ladder import CPU, Rung, descended, is_memory
from chorale_generation.cascade.laying import laid, no_tail
from chorale_generation.cascade.swift import swift
from chorale_generation.cascade.windows import spread
from chorale_generation.checking import check
from chorale_generation.checkpoints import CheckpointRefused, Weights
from chorale_generation.refusals import MemoryExhausted, SettingUnsupported

if TYPE_CHECKING:
    from encodec.model import EncodecModel

_DIGEST_BYTES = 1 << 20
_RESIDENT_MOST = 2  # pairs of models that stay in a process
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Models:
    """The codec and the cascade, with their weights."""

    codec: "EncodecModel"
    cascade: network.Cascade


@dataclass(frozen=True)
class Pair:
    """Two tracks of the same length, and what is asked of them."""

    one: Mono
    other: Mono
    wishes: CascadeWishes


@dataclass(frozen=True)
class Made:
    """Sound at the codec's rate, what had to give for memory, and how it was made at last."""

    sound: Mono
    masks: Masks
    concessions: tuple[str, ...]
    rung: Rung


_resident: dict[tuple[str, str, str], Models] = {}


def resident(codec_file: ModelPath, cascade_file: ModelPath, device: str) -> Models:
    """Models as `loaded` gives them, which stay in this process: weights are read once."""
    key = (codec_file.sha256, cascade_file.sha256, device)
    models = _resident.pop(key, None) or loaded(codec_file, cascade_file, device)
    _resident[key] = models  # the last is the youngest
    while len(_resident) > _RESIDENT_MOST:
        del _resident[next(iter(_resident))]
    return models


def loaded(codec_file: ModelPath, cascade_file: ModelPath, device: str = CPU) -> Models:
    """Loads weights whose digests hold; raises `CheckpointRefused` and `NotTrained`."""
    encodec, cascade = loaded_codec(codec_file), loaded_cascade(cascade_file)
    return Models(swift(encodec) if device == CPU else encodec, cascade)


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


def make(models: Models, pairs: Sequence[Pair], start: Rung, tell: Tell) -> list[Made]:
    """One track of each pair, all at once where the rung is wide; what is asked of the models is
    the same for all.

    Where memory does not suffice the next rung is tried, and what gave is said.
    """
    wishes = pairs[0].wishes
    if wishes.complementary_masks is not None and models.cascade.masking is None:
        known = "unset, where the model has no masks,"
        raise SettingUnsupported("cascade.complementary_masks", "set", known)
    models.codec.set_target_bandwidth(wishes.bandwidth_kbps)
    rung = start
    concessions: list[str] = []
    longest_seconds = max(len(pair.one) for pair in pairs) / codec.RATE_HZ
    while (found := _tried(models, pairs, rung, tell)) is None:
        below, steps = descended(rung, longest_seconds)
        if below is None:
            raise MemoryExhausted(rung.device, rung.window_seconds)
        concessions += steps
        rung = below
    return [Made(sound, masks, tuple(concessions), rung) for sound, masks in found]


def _tried(
    models: Models, pairs: Sequence[Pair], rung: Rung, tell: Tell
) -> list[tuple[Mono, Masks]] | None:
    """The sound of all pairs; None where memory does not suffice."""
    try:
        models.codec.to(rung.device)
        models.cascade.to(rung.device)
        return _windows(models, pairs, rung, tell)
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        # With the traceback goes what its frames hold.
        error.__traceback__ = None
    if rung.device != CPU:
        torch.cuda.empty_cache()
    return None


def encoded(model: "EncodecModel", sound: torch.Tensor) -> torch.Tensor:
    """`[batch, 1, frames]` to `[batch, 128, steps]`: what the decoder would be given."""
    latent = model.encoder(sound).float()
    with torch.autocast(sound.device.type, enabled=False):  # which entry is nearest is a fine thing
        codes = model.quantizer.encode(latent, model.frame_rate, model.bandwidth)
        decoded: torch.Tensor = model.quantizer.decode(codes)
    return decoded


class _Canvas:
    """Windows of a pair, and what was made of them."""

    def __init__(self, pair: Pair, window_seconds: float) -> None:
        frames = round(window_seconds * codec.RATE_HZ)
        self.windows = spread(len(pair.one), frames, pair.wishes.overlap)
        self._both = np.stack([pair.one, pair.other])
        self._tail, self._final = no_tail(1), list[Mono]()
        self._masks: list[Sequence[float]] = []

    def window(self, number: int) -> npt.NDArray[np.float32]:
        """Both tracks in a window."""
        start = self.windows.starts[number]
        return self._both[:, start : start + self.windows.length]

    def lay(self, number: int, sound: Mono, masks: Sequence[float]) -> None:
        """Adds what was made of a window, in order."""
        whole = sound[: self.windows.length, None]
        final, self._tail = laid(self.windows, number, whole, self._tail)
        self._final.append(final[:, 0])
        self._masks.append(masks)

    def whole(self) -> tuple[Mono, Masks]:
        """All that was made."""
        one, other, apart = np.mean(self._masks, axis=0).tolist()
        return np.concatenate(self._final), Masks(one, other, apart)


@torch.inference_mode()
def _windows(
    models: Models, pairs: Sequence[Pair], rung: Rung, tell: Tell
) -> list[tuple[Mono, Masks]]:
    canvases = [_Canvas(pair, rung.window_seconds) for pair in pairs]
    places = [(canvas, number) for canvas in canvases for number in range(len(canvas.windows))]
    places.sort(key=lambda place: place[0].windows.length)  # only one length goes together
    done = 0
    while done < len(places):
        length = places[done][0].windows.length
        taken = places[done : done + rung.width]
        group = [each for each in taken if each[0].windows.length == length]
        sounds, masks = _coded(models, group, pairs[0].wishes, rung, done / len(places), tell)
        for (canvas, number), sound, told in zip(group, sounds, masks, strict=True):
            canvas.lay(number, sound, told)
        done += len(group)
    return [canvas.whole() for canvas in canvases]


def _coded(
    models: Models,
    group: "Sequence[tuple[_Canvas, int]]",
    wishes: CascadeWishes,
    rung: Rung,
    share: float,
    tell: Tell,
) -> tuple[npt.NDArray[np.float32], list[list[float]]]:
    """Windows through codec and cascade: all first tracks, then all second ones, in one batch.

    With the sound of each come the means of its masks.
    """
    both = np.stack([canvas.window(number) for canvas, number in group])  # (windows, 2, frames)
    sound = torch.from_numpy(both.transpose(1, 0, 2).reshape(-1, 1, both.shape[2]).copy())
    device, mutual = torch.device(rung.device), wishes.complementary_masks
    precision = torch.float16 if device.type == "cuda" else torch.bfloat16
    with torch.autocast(device.type, precision, enabled=rung.is_half):
        tell("encoding", share)
        latents = encoded(models.codec, sound.to(device))
        tell("generating", share)
        one, other = latents[: len(group)], latents[len(group) :]
        steps = models.cascade(one, other, wishes.stage_count, mutual)
        masks = models.cascade.masks(one, other, mutual)
        tell("decoding", share)
        made: npt.NDArray[np.float32] = models.codec.decoder(steps)[:, 0].float().cpu().numpy()
    parts = torch.cat([masks, (masks[..., :1] - masks[..., 1:]).abs()], dim=-1)
    means: list[list[float]] = parts.float().mean(1).cpu().tolist()
    return made, means


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while data := file.read(_DIGEST_BYTES):
            digest.update(data)
    return digest.hexdigest()
