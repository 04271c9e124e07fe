"""Between messages about datasets and trainings and the values that training knows."""

from collections.abc import Mapping, Sequence

from chorale.generation.v1 import datasets_pb2, training_pb2

from chorale_generation.refusals import SettingUnsupported
from chorale_generation.store.datasets import Dataset
from chorale_generation.store.trainings import Told
from chorale_generation.training.asked import (
    BATCH_SIZE,
    EPOCHS,
    LEARNING_RATE,
    PATIENCE_EPOCHS,
    CodecWishes,
    Plan,
)

CHECKPOINT_MINUTES = 5
_USAGE_LOW = 0.05
_RISE = 1.2  # a loss that ends so far above its best


def dataset(value: Dataset) -> datasets_pb2.Dataset:
    """A dataset."""
    message = datasets_pb2.Dataset(
        name=value.name,
        title=value.title,
        sha256=value.sha256,
        sample_rate_hz=value.sample_rate_hz,
        duration_seconds=value.duration_seconds,
        items=[
            datasets_pb2.DatasetItem(
                audio=item.audio,
                duration_seconds=item.frame_count / value.sample_rate_hz,
                bpm=item.bpm,
                key=item.key,
                label=item.label,
                is_validation=item.is_validation,
            )
            for item in value.items
        ],
        rejections=[
            datasets_pb2.DatasetRejection(audio=each.audio, reason=each.reason)
            for each in value.rejections
        ],
    )
    message.create_time.FromDatetime(value.create_time)
    return message


def plan(message: training_pb2.TrainingSettings, seed: int, minutes_max: int) -> Plan:
    """How to train, defaults filled in."""
    minutes = min(message.limit_minutes or minutes_max, minutes_max)
    return Plan(
        seed=message.seed if message.HasField("seed") else seed,
        epochs=message.epochs or EPOCHS,
        batch_size=message.batch_size or BATCH_SIZE,
        learning_rate=message.learning_rate or LEARNING_RATE,
        patience_epochs=message.patience_epochs or PATIENCE_EPOCHS,
        mixed_precision=message.mixed_precision,
        limit_seconds=60.0 * minutes,
    )


def require_tunable(request: training_pb2.TrainModelRequest) -> None:
    """Raises `SettingUnsupported` for a setting that no trainer at a provider is told."""
    settings = request.settings
    given: dict[str, object] = {
        "codec": request.codec,
        "stage_count": request.stage_count,
        "settings.checkpoint_minutes": settings.checkpoint_minutes,
        "settings.patience_epochs": settings.patience_epochs,
        "settings.mixed_precision": settings.mixed_precision,
        "settings.limit_minutes": settings.limit_minutes,
        "settings.seed": settings.seed if settings.HasField("seed") else "",
    }
    for name, value in given.items():
        if value or (name == "settings.seed" and value != ""):
            raise SettingUnsupported(name, str(value), "only what is unset, at a provider,")


def tuning_input(settings: training_pb2.TrainingSettings) -> dict[str, float]:
    """What a trainer at a provider is told; what is not asked for is left to it."""
    given: dict[str, float] = {
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "lr": settings.learning_rate,
    }
    return {name: value for name, value in given.items() if value}


def tuning_report(told: Mapping[str, str]) -> training_pb2.TrainingReport:
    """How training at a provider went, by what the model's provenance tells."""
    return training_pb2.TrainingReport(
        ended_by=told["ended_by"],
        resumed_count=int(told["resumed_count"]),
        warnings=["The provider tells no loss of validation: nobody knows what it has learned."],
    )


def require_bandwidth(request: training_pb2.TrainCodecRequest) -> None:
    """Raises `SettingUnsupported` for a bandwidth that holds no codebook."""
    if 0.0 < request.bandwidth_kbps < 1.5:
        known = "0 or 1.5 to 24"
        raise SettingUnsupported("bandwidth_kbps", f"{request.bandwidth_kbps:g}", known)


def codec_wishes(
    request: training_pb2.TrainCodecRequest, filters: int, codebook_size: int
) -> CodecWishes:
    """Which codec to train."""
    return CodecWishes(
        filters=filters,
        codebook_size=codebook_size,
        bandwidth_kbps=request.bandwidth_kbps or 6.0,
        warm_up_steps=request.warm_up_steps if request.HasField("warm_up_steps") else None,
    )


def codec_said(wishes: CodecWishes) -> dict[str, str]:
    """Which codec is trained."""
    warm_up = wishes.warm_up_steps
    return {
        "codec.filters": str(wishes.filters),
        "codec.codebook_size": str(wishes.codebook_size),
        "bandwidth_kbps": f"{wishes.bandwidth_kbps:g}",
        "warm_up_steps": "a third" if warm_up is None else str(warm_up),
    }


def checkpoint_seconds(message: training_pb2.TrainingSettings, seconds_max: float) -> float:
    """How often training is stored: as asked, and as often as this service does at least."""
    return min(60.0 * (message.checkpoint_minutes or CHECKPOINT_MINUTES), seconds_max)


def plan_said(value: Plan, checkpoint_seconds: float) -> dict[str, str]:
    """Every setting as it is in force."""
    return {
        "seed": str(value.seed),
        "settings.epochs": str(value.epochs),
        "settings.batch_size": str(value.batch_size),
        "settings.learning_rate": f"{value.learning_rate:g}",
        "settings.checkpoint_minutes": f"{checkpoint_seconds / 60.0:g}",
        "settings.patience_epochs": str(value.patience_epochs),
        "settings.mixed_precision": str(value.mixed_precision).lower(),
        "settings.limit_minutes": f"{value.limit_seconds / 60.0:g}",
    }


def point(told: Told) -> training_pb2.TrainingPoint:
    """A point of the curve."""
    message = training_pb2.TrainingPoint(
        **vars(told.point), checkpoint=told.checkpoint, message=told.message
    )
    message.event_time.FromDatetime(told.event_time)
    return message


def report(
    curve: Sequence[Told], told: Mapping[str, str], metrics: Mapping[str, float]
) -> training_pb2.TrainingReport:
    """How training went, by its curve and what the model's provenance and figures tell."""
    validated = [each for each in curve if each.point.validation_loss > 0.0]
    message = training_pb2.TrainingReport(
        curve=[point(each) for each in validated],
        ended_by=told["ended_by"],
        baseline_loss=metrics.get("baseline_loss", 0.0),
        seed=int(told["seed"]),
        resumed_count=int(told["resumed_count"]),
    )
    # Before its quantiser joins a codec has another, easier task.
    joined = metrics.get("warm_up_steps", 0.0)
    losses = [each.point.validation_loss for each in validated if each.point.step > joined]
    if losses and losses[-1] > _RISE * min(losses):
        message.warnings.append("The validation loss ends above its best: it learns by heart.")
    usage = metrics.get("codebook_usage", 1.0)
    if usage < _USAGE_LOW:
        message.warnings.append(
            f"It uses {100.0 * usage:.1f} % of its entries: most sound is encoded alike."
        )
    if not metrics["validated_apart"]:
        message.warnings.append("Too little was kept back: it is validated by what it learns from.")
    if 0.0 < message.baseline_loss <= metrics["validation_loss"]:
        message.warnings.append("It is no better than returning the first track.")
    return message
