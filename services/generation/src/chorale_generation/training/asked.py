"""What is asked of a training, and what it tells."""

from dataclasses import dataclass

from chorale_generation.cascade.asked import ModelPath

EPOCHS, BATCH_SIZE, LEARNING_RATE, PATIENCE_EPOCHS = 10, 8, 3e-4, 5


@dataclass(frozen=True)
class Plan:
    """How to train. The same plan on the same data makes the same model on the CPU."""

    seed: int
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    learning_rate: float = LEARNING_RATE
    patience_epochs: int = PATIENCE_EPOCHS
    mixed_precision: bool = False
    limit_seconds: float = 86_400.0


@dataclass(frozen=True)
class CodecWishes:
    """Which codec to train; without `warm_up_steps` a third of all."""

    filters: int = 8
    codebook_size: int = 1024
    bandwidth_kbps: float = 6.0
    warm_up_steps: int | None = None


@dataclass(frozen=True)
class CascadeStart:
    """What a cascade is trained from."""

    codec: ModelPath
    stage_count: int = 1
    base: ModelPath | None = None


@dataclass(frozen=True)
class Corpus:
    """Mono sound at the codec's rate, as float32 in two files: to learn from, to validate by."""

    learning_path: str
    validation_path: str


@dataclass(frozen=True)
class CodecTeaching:
    """All that training a codec needs."""

    corpus: Corpus
    plan: Plan
    wishes: CodecWishes


@dataclass(frozen=True)
class CascadeTeaching:
    """All that training a cascade needs; the directory holds encodings of pairs."""

    directory: str
    plan: Plan
    start: CascadeStart


Teaching = CodecTeaching | CascadeTeaching


@dataclass(frozen=True)
class Point:
    """How training stood; a validation loss of 0 was not measured."""

    step: int
    epoch: float
    training_loss: float
    validation_loss: float
    learning_rate: float


@dataclass(frozen=True)
class Lap:
    """What came of a stretch of training; `ended_by` is empty while there is more to do."""

    points: tuple[Point, ...]
    step: int
    step_count: int
    ended_by: str


@dataclass(frozen=True)
class Finished:
    """A trained model on disk, and figures of its validation."""

    sha256: str
    size_bytes: int
    metrics: dict[str, float]
