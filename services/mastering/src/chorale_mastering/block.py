"""What every stage of a master is: blocks of frames in, the same frames out, a little later."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from chorale_mastering.loudness import NotFinite

Samples = npt.NDArray[np.float32]


class Processor(Protocol):
    """A stage with a state: as many frames come out as went in, at the same places.

    Delay is taken out by the stage itself: the first blocks may come back shorter, and `flush`
    returns the rest. The frames do not depend on how they were cut into blocks. A processor
    serves one signal and one thread at a time; after `flush` it is spent.
    """

    @property
    def latency_frames(self) -> int:
        """How many frames the output may lie behind the input at most."""

    def process(self, block: Samples) -> Samples:
        """Takes the next frames, `(frames, channels)`; returns those that are ready."""

    def flush(self) -> Samples:
        """Says that no more frames come; returns the rest."""


class Hopped(ABC):
    """A processor that works on whole hops, counted from the start of the sound.

    The same frames meet the same arithmetic however they came, so the result is the same to the
    bit. `_advance` may delay by `delay_frames`; the delay is cut off here.
    """

    def __init__(self, channel_count: int, hop_frames: int, delay_frames: int) -> None:
        self._hop_frames, self._delay_frames = hop_frames, delay_frames
        self._pending = np.zeros((0, channel_count), np.float32)
        self._skip_frames = delay_frames
        self._in_frames = self._out_frames = 0

    @property
    def latency_frames(self) -> int:
        """How many frames the output may lie behind the input at most."""
        return self._delay_frames + self._hop_frames - 1

    def process(self, block: Samples) -> Samples:
        """Takes the next frames; returns those that are ready."""
        self._in_frames += len(block)
        return self._pushed(block)

    def flush(self) -> Samples:
        """Lets silence follow until the last frame is out."""
        missing = self._in_frames - self._out_frames
        silence = np.zeros((self._hop_frames + self._delay_frames, self._pending.shape[1]))
        return self._pushed(silence.astype(np.float32))[:missing]

    def _pushed(self, block: Samples) -> Samples:
        line = np.concatenate([self._pending, block]) if len(self._pending) else block
        whole = len(line) // self._hop_frames * self._hop_frames
        self._pending = line[whole:].copy()
        out = self._advance(np.ascontiguousarray(line[:whole], np.float32))
        skipped = min(self._skip_frames, len(out))
        self._skip_frames -= skipped
        self._out_frames += len(out) - skipped
        return out[skipped:]

    @abstractmethod
    def _advance(self, line: Samples) -> Samples:
        """Takes whole hops; returns as many frames, `delay_frames` behind."""


class Sequenced:
    """Several processors, one after the other, as one."""

    def __init__(self, stages: Sequence[Processor]) -> None:
        self._stages = tuple(stages)

    @property
    def latency_frames(self) -> int:
        """The sum of all."""
        return sum(stage.latency_frames for stage in self._stages)

    def process(self, block: Samples) -> Samples:
        """Takes the next frames; returns those that are ready."""
        for stage in self._stages:
            block = stage.process(block)
        return block

    def flush(self) -> Samples:
        """Flushes every stage through those behind it."""
        tails = []
        for number, stage in enumerate(self._stages):
            tail = stage.flush()
            for later in self._stages[number + 1 :]:
                tail = later.process(tail)
            tails.append(tail)
        return np.concatenate(tails) if tails else np.zeros((0, 1), np.float32)


def processed(processor: Processor, signal: Samples, block_frames: int = 1 << 16) -> Samples:
    """Runs a whole signal through a processor."""
    blocks = [processor.process(block) for block in cut(signal, block_frames)]
    return np.concatenate([*blocks, processor.flush()])


def cut(signal: Samples, block_frames: int) -> Iterator[Samples]:
    """Yields the signal in blocks; the last may be shorter."""
    for start in range(0, len(signal), block_frames):
        yield signal[start : start + block_frames]


def require_finite(block: Samples, first_frame: int) -> None:
    """Raises `NotFinite` with the first frame that holds NaN or infinity."""
    # One NaN or infinity makes the sum not finite; the slow search runs only then.
    if np.isfinite(block.sum()):
        return
    wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if len(wrong):
        raise NotFinite(first_frame + int(wrong[0]))
