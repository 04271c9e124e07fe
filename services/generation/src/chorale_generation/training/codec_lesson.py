"""Learning a codec: the autoencoder alone first, then with its quantiser.

A quantiser that joins from the first step on never learns: it has nothing to quantise yet.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from chorale_generation.cascade import codec
from chorale_generation.training.asked import CodecWishes, Corpus, Plan
from chorale_generation.training.loop import device
from chorale_generation.training.windows import split

if TYPE_CHECKING:
    from encodec.model import EncodecModel

WINDOW_FRAMES = codec.RATE_HZ
_WINDOWS_MOST, _WINDOWS_LEAST = 20_000, 2
_SPECTRA = (256, 1024, 2048)


class CodecLesson:
    """A codec, and sound to put through it."""

    model: "EncodecModel"

    def __init__(self, corpus: Corpus, plan: Plan, wishes: CodecWishes) -> None:
        found = split(
            corpus.learning_path,
            corpus.validation_path,
            WINDOW_FRAMES,
            codec.RATE_HZ,
            _WINDOWS_MOST,
            _WINDOWS_LEAST,
        )
        self._learning, self._validation = found.learning, found.validation
        self._is_apart = found.is_apart
        self._batch_size = plan.batch_size
        count = codec.codebooks_for(wishes.bandwidth_kbps, wishes.codebook_size)
        shape = codec.Shape(wishes.filters, count, wishes.codebook_size)
        torch.manual_seed(plan.seed)
        self.model = codec.untrained(shape).to(device())
        self.example_count = len(found.learning)
        steps = plan.epochs * math.ceil(self.example_count / plan.batch_size)
        wished = steps // 3 if wishes.warm_up_steps is None else wishes.warm_up_steps
        self.warm_up_steps = min(wished, steps - 1)

    def loss(self, examples: torch.Tensor, step: int) -> torch.Tensor:
        """How far decoded sound is from the sound, and what the quantiser adds."""
        sound = torch.from_numpy(self._learning.taken(examples.tolist()))[:, None].to(device())
        latent = self.model.encoder(sound)
        if step < self.warm_up_steps:
            return _distance(self.model.decoder(latent), sound)
        result = self.model.quantizer(latent, codec.STEPS_PER_SECOND)
        made = self.model.decoder(result.quantized)
        penalty: torch.Tensor = result.penalty
        return _distance(made, sound) + penalty

    def validation_loss(self, step: int) -> float:
        """The distance alone, in the order of batches."""
        sums = [
            len(sound) * float(_distance(self._coded(sound, step), sound))
            for sound in self._batches()
        ]
        return sum(sums) / len(self._validation)

    def counts(self, step: int) -> bool:
        """Without its quantiser it is no codec."""
        return step > self.warm_up_steps

    def figures(self) -> dict[str, float]:
        """Signal over error in dB, and the share of the codebooks' entries in use."""
        signal = error = 0.0
        quantizer = self.model.quantizer
        used = torch.zeros(quantizer.n_q, quantizer.bins, dtype=torch.bool)
        for sound in self._batches():
            latent = self.model.encoder(sound)
            codes = quantizer.encode(latent, codec.STEPS_PER_SECOND)
            made = self.model.decoder(quantizer.decode(codes))[..., : sound.shape[-1]]
            signal += float(sound.square().sum())
            error += float((made - sound).square().sum())
            for level, found in enumerate(codes):
                used[level, found.flatten().cpu()] = True
        ratio = max(signal, 1e-12) / max(error, 1e-12)
        return {
            "reconstruction_snr_db": 10.0 * math.log10(ratio),
            "codebook_usage": float(used.float().mean()),
            "validated_apart": float(self._is_apart),
            "warm_up_steps": float(self.warm_up_steps),
        }

    def _coded(self, sound: torch.Tensor, step: int) -> torch.Tensor:
        latent = self.model.encoder(sound)
        if self.counts(step):
            latent = self.model.quantizer(latent, codec.STEPS_PER_SECOND).quantized
        made: torch.Tensor = self.model.decoder(latent)
        return made

    def _batches(self) -> "Iterator[torch.Tensor]":
        places = range(len(self._validation))
        for at in places[:: self._batch_size]:
            part = self._validation.taken(places[at : at + self._batch_size])
            yield torch.from_numpy(part)[:, None].to(device())


def _distance(made: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
    """Error over signal, of frames and of magnitudes: no scale matters."""
    made = made[..., : sound.shape[-1]].float()
    total = (made - sound).square().sum() / sound.square().sum().clamp_min(1e-6)
    for length in _SPECTRA:
        window = torch.hann_window(length, device=sound.device)
        ours, theirs = (
            torch.stft(
                each[:, 0], length, length // 4, window=window, return_complex=True, center=False
            ).abs()
            for each in (made, sound)
        )
        total = total + (ours - theirs).abs().sum() / theirs.sum().clamp_min(1e-6) / len(_SPECTRA)
    return total
