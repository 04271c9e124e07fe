"""`chorale train`."""

import uuid
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import mastering, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.generation.v1.models_pb2 import ModelDetails
    from chorale.generation.v1.training_pb2 import TrainingReport, TrainingSettings

    from chorale_client.sync import Chorale

_ENGINE = "encodec-cascade"


@subcommand("train")
@click.argument("kind", type=click.Choice(("codec", "cascade", "model")))
@click.argument("model", metavar="models/...")
@click.argument("sounds", nargs=-1, metavar="FILE|AUDIO...")
@click.option("--dataset", default="", help="Learn from this dataset instead of files.")
@click.option("--title", default="", help="What to call the dataset that files become.")
@click.option("--files-min", type=int, default=0, help="Fewest files. Default: 9.")
@click.option("--seconds-min", type=float, default=0.0, help="Shortest file. Default: 30.")
@click.option("--epochs", type=int, default=0, help="Passes over the data. Default: 10.")
@click.option("--minutes", type=int, default=0, help="Most time. Default: as the mesh allows.")
@click.option("--seed", type=int, help="The same seed trains the same model. Default: any.")
@click.option("--codec", default="", help="Codec of a cascade. Default: models/encodec-24khz.")
@click.option("--base", default="", help="Train this cascade, or model, further.")
@click.option("--stages", type=int, default=0, help="Stages of a cascade. Default: 1.")
@click.option("--provider", default="", help="Who trains a model elsewhere, such as replicate.")
@click.option("--licence", default="", help="SPDX expression of the model's licence.")
def command(
    session: Session, kind: str, model: str, sounds: tuple[str, ...], dataset: str, **said: Any
) -> None:
    """Train a codec or a cascade on your sound, or a model at a provider, and register it.

    \b
    chorale train codec models/encodec-24khz *.flac --licence CC0-1.0
    chorale train cascade models/cascade --dataset datasets/44f0c1aa-0000-4000-8000-000000000000
    chorale train model models/cello *.flac --provider replicate --base models/musicgen
    """
    from chorale.generation.v1 import models_pb2, training_pb2

    if bool(sounds) == bool(dataset):
        raise click.UsageError("Name files to learn from, or --dataset, and not both.")
    if (kind == "model") != bool(said["provider"]):
        raise click.UsageError("A model is trained by a --provider; codec and cascade are not.")
    engine = said["provider"] or _ENGINE
    details = models_pb2.ModelDetails(model=model, engine=engine, licence=said["licence"])
    settings = training_pb2.TrainingSettings(
        epochs=said["epochs"], limit_minutes=said["minutes"], seed=said["seed"]
    )
    with session.chorale() as chorale:
        dataset = dataset or _prepared(session, chorale, sounds, said)
        train = _codec if kind == "codec" else _cascade
        train(session, chorale, details, dataset, settings, said)


def _prepared(
    session: Session, chorale: "Chorale", sounds: tuple[str, ...], said: dict[str, Any]
) -> str:
    from chorale.generation.v1 import datasets_pb2

    request = datasets_pb2.PrepareDatasetRequest(
        audio=dict.fromkeys(sources.stored(session, chorale, sound) for sound in sounds),
        title=said["title"],
        request_id=str(uuid.uuid4()),
        minimum_count=said["files_min"],
        minimum_seconds=said["seconds_min"],
        auto_label=bool(said["provider"]),  # neither codec nor cascade reads words
        drop_vocals=False,
    )
    operation = chorale.start(
        chorale.generation.PrepareDataset, request, datasets_pb2.PrepareDatasetResponse
    )
    made = mastering.finished(session, operation, "preparing").dataset
    for rejection in made.rejections:
        click.echo(f"left out: {rejection.audio}: {rejection.reason}", err=True)
    click.echo(f"dataset: {made.name}", err=True)
    return str(made.name)


def _codec(
    session: Session,
    chorale: "Chorale",
    details: "ModelDetails",
    dataset: str,
    settings: "TrainingSettings",
    said: dict[str, Any],  # noqa: ARG001 - what only a cascade reads
) -> None:
    from chorale.generation.v1 import training_pb2

    request = training_pb2.TrainCodecRequest(
        details=details, dataset=dataset, settings=settings, request_id=str(uuid.uuid4())
    )
    operation = chorale.start(
        chorale.generation.TrainCodec, request, training_pb2.TrainCodecResponse
    )
    answer = mastering.finished(session, operation, "training")
    figures = [
        ("signal over error", f"{answer.reconstruction_snr_db:.1f} dB"),
        ("codebooks in use", f"{100.0 * answer.codebook_usage:.0f} %"),
    ]
    _tell(session, answer, answer.report, figures)


def _cascade(
    session: Session,
    chorale: "Chorale",
    details: "ModelDetails",
    dataset: str,
    settings: "TrainingSettings",
    said: dict[str, Any],
) -> None:
    from chorale.generation.v1 import training_pb2

    request = training_pb2.TrainModelRequest(
        details=details,
        dataset=dataset,
        settings=settings,
        base_model=said["base"],
        codec=said["codec"],
        stage_count=said["stages"],
        request_id=str(uuid.uuid4()),
    )
    operation = chorale.start(
        chorale.generation.TrainModel, request, training_pb2.TrainModelResponse
    )
    answer = mastering.finished(session, operation, "training")
    figures = [("loss of copying track 1", f"{answer.report.baseline_loss:.4g}")]
    _tell(session, answer, answer.report, figures)


def _tell(
    session: Session, answer: Any, report: "TrainingReport", figures: list[tuple[str, str]]
) -> None:
    if session.as_json:
        session.say(answer)
        return
    if answer.model.provider:
        figures = [("provider", answer.model.provider), ("there", answer.model.provider_id)]
    else:
        loss = answer.model.metrics["validation_loss"]
        kept_back = ("loss on what was kept back", f"{loss:.4g}")
        figures = [("seed", str(report.seed)), kept_back, *figures]
    rows = [("model", answer.model.name), ("ended by", report.ended_by), *figures]
    session.table(("what", "is"), rows)
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
