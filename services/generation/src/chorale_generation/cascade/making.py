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
from chorale_generation.cascade.asked import CascadeWishes, ModelPath
from chorale_generation.cascade.finishing import Mono, matched, notched, soft_limited
from chorale_generation.cascade.ladder import CPU, Rung, descended, is_memory
from chorale_generation.cascade.swift import swift
from chorale_generation.checking import check
from chorale_generation.checkpoints import CheckpointRefused, Weights
from chorale_generation.refusals import MemoryExhausted

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
    """Sound at the codec's rate, what had to give for memory, and where it was made."""

    sound: Mono
    concessions: tuple[str, ...]
    device: str


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
    models.codec.set_target_bandwidth(pairs[0].wishes.bandwidth_kbps)
    rung = start
    concessions: list[str] = []
    longest_seconds = max(len(pair.one) for pair in pairs) / codec.RATE_HZ
    while (sounds := _tried(models, pairs, rung, tell)) is None:
        below, steps = descended(rung, longest_seconds)
        if below is None:
            raise MemoryExhausted(rung.device, rung.window_seconds)
        concessions += steps
        rung = below
    return [Made(sound, tuple(concessions), rung.device) for sound in sounds]


def finished(sound: Mono, pair: Pair) -> tuple[Mono, tuple[float, ...]]:
    """Decoded sound with its level and peaks seen to, and the tones that were taken out, in Hz."""
    notches: list[float] = []
    if pair.wishes.notch_outliers:
        sound, notches = notched(sound, codec.RATE_HZ)
    if pair.wishes.match_level:
        sound = matched(sound, pair.one)
    return soft_limited(sound), tuple(notches)


def _tried(models: Models, pairs: Sequence[Pair], rung: Rung, tell: Tell) -> list[Mono] | None:
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
    """Windows of a pair, and the sound that they add up to."""

    def __init__(self, pair: Pair, window_seconds: float) -> None:
        self._count = len(pair.one)
        self.length = min(self._count, round(window_seconds * codec.RATE_HZ))
        hop = max(1, round(self.length * (1.0 - pair.wishes.overlap)))
        self.starts = range(0, max(1, self._count - self.length + hop), hop)
        total = self.starts[-1] + self.length
        both = np.stack([pair.one, pair.other])
        self._both = np.pad(both, ((0, 0), (0, max(0, total - self._count))))
        self._made, self._weight = np.zeros((2, total), np.float32)
        shape = np.minimum(np.arange(self.length) + 1, np.arange(self.length)[::-1] + 1)
        # Flat where windows do not overlap.
        self._shape = np.minimum(shape / max(1, self.length - hop), 1.0).astype(np.float32)

    def window(self, start: int) -> npt.NDArray[np.float32]:
        """Both tracks in a window."""
        return self._both[:, start : start + self.length]

    def lay(self, start: int, sound: Mono) -> None:
        """Adds what was made of a window."""
        at = slice(start, start + self.length)
        self._made[at] += sound[: self.length] * self._shape
        self._weight[at] += self._shape

    def whole(self) -> Mono:
        """All that was made."""
        made: Mono = np.clip(self._made / self._weight, -1.0, 1.0)[: self._count]
        return made


@torch.inference_mode()
def _windows(models: Models, pairs: Sequence[Pair], rung: Rung, tell: Tell) -> list[Mono]:
    canvases = [_Canvas(pair, rung.window_seconds) for pair in pairs]
    places = [(canvas, start) for canvas in canvases for start in canvas.starts]
    places.sort(key=lambda place: place[0].length)  # only windows of one length go together
    done = 0
    while done < len(places):
        length = places[done][0].length
        group = [each for each in places[done : done + rung.width] if each[0].length == length]
        sounds = _coded(models, group, pairs[0].wishes.stage_count, rung, done / len(places), tell)
        for (canvas, start), sound in zip(group, sounds, strict=True):
            canvas.lay(start, sound)
        done += len(group)
    return [canvas.whole() for canvas in canvases]


def _coded(
    models: Models,
    group: "Sequence[tuple[_Canvas, int]]",
    stage_count: int,
    rung: Rung,
    share: float,
    tell: Tell,
) -> npt.NDArray[np.float32]:
    """Windows through codec and cascade: all first tracks, then all second ones, in one batch."""
    both = np.stack([canvas.window(start) for canvas, start in group])  # (windows, 2, frames)
    sound = torch.from_numpy(both.transpose(1, 0, 2).reshape(-1, 1, both.shape[2]).copy())
    device = torch.device(rung.device)
    precision = torch.float16 if device.type == "cuda" else torch.bfloat16
    with torch.autocast(device.type, precision, enabled=rung.is_half):
        tell("encoding", share)
        latents = encoded(models.codec, sound.to(device))
        tell("generating", share)
        steps = models.cascade(latents[: len(group)], latents[len(group) :], stage_count)
        tell("decoding", share)
        made: npt.NDArray[np.float32] = models.codec.decoder(steps)[:, 0].float().cpu().numpy()
    return made


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while data := file.read(_DIGEST_BYTES):
            digest.update(data)
    return digest.hexdigest()
