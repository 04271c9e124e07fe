"""Learning a cascade: the strokes of one track with the tones of another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from chorale_generation.cascade import codec, network
from chorale_generation.cascade.asked import ModelPath
from chorale_generation.cascade.finishing import Mono
from chorale_generation.cascade.making import Tell, encoded, loaded_cascade, loaded_codec
from chorale_generation.mosaic.parts import parts
from chorale_generation.training.asked import CascadeStart, Corpus, Plan
from chorale_generation.training.loop import device
from chorale_generation.training.windows import split

if TYPE_CHECKING:
    from encodec.model import EncodecModel

WINDOW_SECONDS = 4.0
_WINDOW_FRAMES = round(WINDOW_SECONDS * codec.RATE_HZ)
_PAIRS_MOST, _PAIRS_LEAST, _BANDWIDTH_KBPS = 512, 2, 6.0

_ENCODING_FROM, _ENCODING_TO = 0.05, 0.1  # of the operation: training itself comes after
_FILES, _APART = ("learning.npy", "validation.npy"), "apart"

Encodings = npt.NDArray[np.float32]  # (pairs, 3, dimension, steps): one, other, what is wanted
Maker = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Pairs:
    """What to learn from, and what to validate by."""

    learning: Encodings
    validation: Encodings
    is_apart: bool = True  # whether nothing is in both


class CascadeLesson:
    """A cascade, and encodings of pairs with what shall become of them."""

    model: network.Cascade

    def __init__(
        self, pairs: Pairs, plan: Plan, start: CascadeStart, is_first: bool = True
    ) -> None:
        self._learning, self._validation = pairs.learning, pairs.validation
        self._is_apart = pairs.is_apart
        self._batch_size, self.example_count = plan.batch_size, len(pairs.learning)
        torch.manual_seed(plan.seed)
        if start.base is None:
            shape = network.Shape(stage_count=start.stage_count, has_masks=True)
            self.model = network.Cascade(shape)
            if is_first:
                self._bring_to_scale()
        else:
            self.model = loaded_cascade(start.base)
        self.model = self.model.to(device())

    def loss(self, examples: torch.Tensor, _: int) -> torch.Tensor:
        """Mean square of the error, in deviations of the encodings."""
        one, other, wanted = _taken(self._learning[examples.numpy()])
        return self._distance(self.model(one, other), wanted)

    def validation_loss(self, _: int) -> float:
        """The same on what was kept back."""
        return self._mean(self.model)

    def counts(self, _: int) -> bool:
        """Every model is one."""
        return True

    def figures(self) -> dict[str, float]:
        """The validation loss of a model that returns the first track."""
        baseline = self._mean(lambda one, _: one)
        return {"baseline_loss": baseline, "validated_apart": float(self._is_apart)}

    def _mean(self, make: Maker) -> float:
        total = 0.0
        for at in range(0, len(self._validation), self._batch_size):
            one, other, wanted = _taken(self._validation[at : at + self._batch_size])
            total += len(one) * float(self._distance(make(one, other), wanted))
        return total / len(self._validation)

    def _bring_to_scale(self) -> None:
        """Mean and deviation of what it learns from; laps after the first have them restored."""
        both = self._learning[:, :2]
        deviation = np.maximum(both.std((0, 1, 3), dtype=np.float64), 1e-6)
        self.model.mean.copy_(torch.from_numpy(both.mean((0, 1, 3), dtype=np.float64)))
        self.model.deviation.copy_(torch.from_numpy(deviation))

    def _distance(self, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        error = (made - wanted) / self.model.deviation[:, None]
        return error.square().mean()


def encode_pairs(
    codec_file: ModelPath, corpus: Corpus, seed: int, directory: str, tell: Tell
) -> None:
    """Draws pairs of windows and keeps their encodings in a directory."""
    model = loaded_codec(codec_file).to(device())
    found = split(
        corpus.learning_path,
        corpus.validation_path,
        _WINDOW_FRAMES,
        codec.RATE_HZ,
        _PAIRS_MOST,
        _PAIRS_LEAST,
    )
    total, done = len(found.learning) + len(found.validation), 0
    for number, windows in enumerate((found.learning, found.validation)):
        pairs = []
        for both in enumerate(_partners(len(windows), seed + number)):
            tell("encoding", _ENCODING_FROM + (_ENCODING_TO - _ENCODING_FROM) * done / total)
            pairs.append(encodings(model, *windows.taken(both)))
            done += 1
        np.save(Path(directory, _FILES[number]), np.stack(pairs))
    if found.is_apart:
        Path(directory, _APART).touch()


def pairs_of(directory: str) -> Pairs:
    """What `encode_pairs` kept."""
    one, other = (np.load(Path(directory, name), mmap_mode="r") for name in _FILES)
    return Pairs(one, other, Path(directory, _APART).exists())


def encodings(model: "EncodecModel", one: Mono, other: Mono) -> Encodings:
    """One pair and what is wanted of it, as the codec has them."""
    model.set_target_bandwidth(_BANDWIDTH_KBPS)
    sounds = np.stack([one, other, wanted(one, other)])[:, None]
    with torch.inference_mode():
        found = encoded(model, torch.from_numpy(sounds).to(device()))
    made: Encodings = found.cpu().numpy()
    return made


def wanted(one: Mono, other: Mono) -> Mono:
    """The strokes of one and the tones of the other, at the level of the first."""
    strokes = parts(one[:, None], codec.RATE_HZ).percussive[:, 0]
    made = strokes + parts(other[:, None], codec.RATE_HZ).harmonic[:, 0]
    ours, theirs = (float(np.sqrt(np.mean(np.square(each)))) for each in (made, one))
    level: Mono = made * np.float32(theirs / max(ours, 1e-6))
    return level


def _taken(found: Encodings) -> tuple[torch.Tensor, ...]:
    """One, other and what is wanted of some pairs, read from the file."""
    return torch.from_numpy(np.array(found)).to(device()).unbind(1)


def _partners(count: int, seed: int) -> list[int]:
    """For every window another one."""
    draws = np.random.default_rng(seed)
    return [int((place + draws.integers(1, count)) % count) for place in range(count)]
