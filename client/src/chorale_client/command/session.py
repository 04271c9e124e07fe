"""What every subcommand shares: how to reach the mesh, and how to speak."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from chorale_client.sync import Chorale

F = TypeVar("F", bound=Callable[..., Any])
Progress = Callable[[int, int], None]

CONNECT_SECONDS = 3.0  # a person is waiting: an address where nothing answers is said soon
RETRY_SECONDS = 8.0


@dataclass
class Session:
    """The options of the group, and of `--json` on any subcommand."""

    endpoint: str = ""
    token: str | None = None
    ca_file: str | None = None
    timeout_seconds: float | None = None
    as_json: bool = False

    @contextmanager
    def chorale(self) -> Iterator["Chorale"]:
        """The mesh, as the options say."""
        from chorale_client.sync import Chorale

        with Chorale(
            self.endpoint, token=self.token, ca_file=self.ca_file, patience=self.patience()
        ) as chorale:
            yield chorale

    def patience(self) -> Any:
        """The command's patience: shorter than a program's, as `--timeout` says where given."""
        from chorale_client.patience import Patience

        usual = Patience(connect_seconds=CONNECT_SECONDS, retry_seconds=RETRY_SECONDS)
        if self.timeout_seconds is None:
            return usual
        most = self.timeout_seconds
        return Patience(min(CONNECT_SECONDS, most), most, min(RETRY_SECONDS, most), most, most)

    @property
    def for_people(self) -> bool:
        """Whether somebody looks at stdout: then names are short and tables have lines."""
        return not self.as_json and sys.stdout.isatty()

    def say(self, message: "Message | dict[str, Any]", *cells: str) -> None:
        """One result: JSON for programs, else its cells, apart by tabs in a pipe."""
        if self.as_json:
            click.echo(to_json(message))
        else:
            click.echo(("  " if self.for_people else "\t").join(cells))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows for people: ruled on a terminal, apart by tabs in a pipe."""
        if not self.for_people:
            for row in rows:
                click.echo("\t".join(row))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*row)
        Console().print(table)

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress | None]:
        """A bar on a terminal; nothing in a pipe, nothing with --json."""
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield partial(_advance, bar, task)


def _advance(bar: Any, task: Any, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def to_json(message: "Message | dict[str, Any]") -> str:
    """One line of JSON: proto3 JSON for messages of the contract."""
    if isinstance(message, dict):
        return json.dumps(message)
    from google.protobuf import json_format

    return json.dumps(json_format.MessageToDict(message))


def subcommand(name: str, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A subcommand that takes the session first, and `--json` wherever it is put."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        decorate: Any = click.command(name, **options)
        made: click.Command = decorate(click.pass_obj(function))
        made.params.append(
            click.Option(
                ["--json"],
                is_flag=True,
                expose_value=False,
                callback=_set_json,
                help="One JSON object per line, for programs.",
            )
        )
        return made

    return wrap


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_object(Session).as_json = True  # type: ignore[union-attr]
