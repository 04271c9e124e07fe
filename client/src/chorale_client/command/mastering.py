"""What `chorale master` and `chorale match` share: progress, and what they write and print."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chorale_client.command import naming
from chorale_client.command.session import Session

if TYPE_CHECKING:
    from chorale.audio.v1.audio_pb2 import FrameSpan
    from chorale.mastering.v1.report_pb2 import Master
    from google.protobuf.message import Message

    from chorale_client.sync import Chorale, Operation

R = TypeVar("R", bound="Message")

_CURVE_POINTS = 1000  # of the pictures in a report
_ROWS = (
    ("integrated", "integrated_lufs", "LUFS"),
    ("true peak", "true_peak_dbtp", "dBTP"),
    ("loudness range", "loudness_range_lu", "LU"),
    ("correlation", "stereo_correlation", ""),
)


def curve_points(report_file: Path | None) -> int:
    """How many points of curves to ask for: pictures need them, nothing else does."""
    return 0 if report_file is None else _CURVE_POINTS


def preview(chorale: "Chorale", audio: str, written: str) -> "FrameSpan | None":
    """The stretch that `1:00-1:15` names; None for all of it."""
    if not written:
        return None
    from chorale_client.command import spans

    start, dash, end = written.partition("-")
    if not dash:
        raise click.UsageError(f"{written!r} is no stretch: 1:00-1:15 and 90- are.")
    return spans.span(chorale.info(audio), start, end)


def finished(session: Session, operation: "Operation[R]", label: str) -> R:
    """Waits, with a bar on a terminal."""
    with _stages(session, label) as tell:
        for event in operation.events(after_sequence=0):
            tell(event.stage, event.fraction)
    return operation.result()


@contextmanager
def _stages(session: Session, label: str) -> Iterator[Callable[[str, float], None]]:
    """A bar with the stage's name; nothing in a pipe, nothing with --json."""
    if session.as_json or not sys.stderr.isatty():
        yield lambda _stage, _fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda stage, fraction: bar.update(task, completed=fraction, description=stage)


def told(session: Session, answer: Any, written: Sequence[str]) -> None:
    """Says how it went: figures, warnings, and a line for each master."""
    if session.as_json:
        session.say(answer)
        return
    masters = answer.masters
    session.table(("what", "before", *(made.label for made in masters)), _rows(masters))
    for message in dict.fromkeys(
        warning.message for made in masters for warning in made.report.warnings
    ):
        click.echo(f"warning: {message}", err=True)
    for made, path in zip(masters, written, strict=True):
        session.say(made, naming.short(made.audio, session.for_people), path)


def fetched(chorale: "Chorale", masters: Sequence["Master"], out: Path | None) -> list[str]:
    """Writes the masters to a file or folder; the names of the files, written or not."""
    names = _file_names(masters)
    if out is None:
        return names
    return [
        str(chorale.get(made.audio, out / name if out.is_dir() else out))
        for made, name in zip(masters, names, strict=True)
    ]


def write_report(
    chorale: "Chorale", audio: str, made: "Master", span: "FrameSpan | None", report_file: Path
) -> None:
    """Writes the page: pictures, reasons, and the loudest passage before and after."""
    from chorale_client.command.listening import comparison
    from chorale_client.command.master_page import page

    start = 0 if span is None else span.start_frame
    heard = comparison(chorale, audio, made, start)
    report_file.write_text(page(made, heard, span), "utf-8")


def _file_names(masters: Sequence["Master"]) -> list[str]:
    """Their own names; what would be there twice gets its label, or its place among them."""
    names = [made.file_name for made in masters]
    labels = [made.label for made in masters]
    told_apart = labels if len(set(labels)) == len(labels) else range(1, len(names) + 1)
    return [
        name if names.count(name) == 1 else f"{stem}_{mark}.{suffix}"
        for name, mark in zip(names, told_apart, strict=True)
        for stem, _, suffix in [name.rpartition(".")]
    ]


def _rows(masters: Sequence["Master"]) -> list[tuple[str, ...]]:
    reports = [made.report for made in masters]
    measured = [reports[0].before, *(report.after for report in reports)]
    figures = [
        (what, *(f"{getattr(each, name):.2f} {unit}".strip() for each in measured))
        for what, name, unit in _ROWS
    ]
    return [*figures, ("quality", "", *(f"{each.quality_score:.0f} of 100" for each in reports))]
