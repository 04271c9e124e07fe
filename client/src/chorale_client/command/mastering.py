"""What `chorale master` and `chorale match` share: options, progress, and what they print."""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chorale_client.command import naming
from chorale_client.command.session import Session

if TYPE_CHECKING:
    from chorale.mastering.v1.outputs_pb2 import MasterOutput
    from chorale.mastering.v1.report_pb2 import Master
    from chorale.mastering.v1.settings_pb2 import MasteringSettings
    from google.protobuf.message import Message

    from chorale_client.sync import Chorale, Operation

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", bound="Message")

PROFILES = ("neutral", "bright", "warm", "bass-boost")
FORMATS = ("wav16", "wav24", "wav32", "wav32f", "flac", "mp3-320", "mp3-v0")
_CURVE_POINTS = 1000  # of the pictures in a report

_OPTIONS = (
    click.option("--lufs", "--target", type=float, help="Integrated loudness. Default: -14."),
    click.option("--eq", "--profile", type=click.Choice(PROFILES), help="The curve. Neutral."),
    click.option("--ratio", type=float, help="Of the compressor, 1 to 10. Default: 4."),
    click.option("--width", type=float, help="Of the stereo image, in percent. Default: 100."),
    click.option("--ceiling", type=float, help="What no true peak may pass. Default: -1 dBTP."),
    click.option(
        "--format", "format_", type=click.Choice(FORMATS), default="wav24", show_default=True
    ),
    click.option(
        "-o", "--out", type=click.Path(path_type=Path), help="Write the master to a file or folder."
    ),
    click.option(
        "--report",
        "report_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write pictures and figures as one HTML file.",
    ),
)


def options(function: F) -> F:
    """Adds the options that every master has."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def settings(
    lufs: float | None,
    eq: str | None,
    ratio: float | None,
    width: float | None,
    ceiling: float | None,
) -> "MasteringSettings":
    """What was asked for; the rest is left to the preset and to the service."""
    from chorale.mastering.v1 import settings_pb2

    message = settings_pb2.MasteringSettings(
        target_loudness_lufs=lufs,
        stereo_width_percent=width,
        eq_profile=None if eq is None else f"EQ_PROFILE_{eq.upper().replace('-', '_')}",
    )
    if ratio is not None:
        message.compressor.ratio = ratio
    if ceiling is not None:
        message.limiter.ceiling_dbtp = ceiling
    return message


def output(format_: str) -> "MasterOutput":
    """How the file is written."""
    from chorale.mastering.v1 import outputs_pb2

    name = f"MASTER_ENCODING_{format_.upper().replace('-', '_')}"
    return outputs_pb2.MasterOutput(encoding=name)


def asked(report_file: Path | None) -> dict[str, Any]:
    """What every request to master has."""
    return {
        "request_id": str(uuid.uuid4()),
        "curve_points": 0 if report_file is None else _CURVE_POINTS,
    }


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


def told(
    session: Session,
    chorale: "Chorale",
    answer: Any,
    out: Path | None,
    report_file: Path | None,
    matched_input: str = "",
) -> None:
    """Writes what was asked to be written, and says how it went."""
    (made,) = answer.masters
    written = str(chorale.get(made.audio, _target(out, made.file_name))) if out else ""
    if report_file is not None:
        from chorale_client.command.master_page import page

        compared = made.matched_input or matched_input
        sounds = [b"".join(chorale.read_bytes(name)) for name in (compared, made.audio)]
        report_file.write_text(page(made, sounds), "utf-8")
    if session.as_json:
        session.say(answer)
        return
    session.table(("what", "before", "after"), _rows(made))
    for warning in made.report.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    session.say(made, naming.short(made.audio, session.for_people), written or made.file_name)


def _target(out: Path, file_name: str) -> Path:
    return out / file_name if out.is_dir() else out


def _rows(made: "Master") -> list[tuple[str, ...]]:
    before, after = made.report.before, made.report.after
    rows = (
        ("integrated", "integrated_lufs", "LUFS"),
        ("true peak", "true_peak_dbtp", "dBTP"),
        ("loudness range", "loudness_range_lu", "LU"),
        ("correlation", "stereo_correlation", ""),
    )
    figures = [
        (
            what,
            f"{getattr(before, name):.2f} {unit}".strip(),
            f"{getattr(after, name):.2f} {unit}".strip(),
        )
        for what, name, unit in rows
    ]
    return [*figures, ("quality", "", f"{made.report.quality_score:.0f} of 100")]
