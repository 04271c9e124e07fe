"""`chorale up`, `down`, `status` and `demo`: the mesh on one machine, from the command line."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
from chorale_client.command.session import Session
from chorale_client.services import full_name
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorale_mesh.demo.run import Demonstration
from chorale_mesh.demo.run import run as run_demo
from chorale_mesh.errors import (
    AlreadyRunsError,
    DiskFullError,
    MeshError,
    NotRunningError,
    PackageMissingError,
    PortTakenError,
    UnreachableError,
)
from chorale_mesh.plan import SERVICE_PORTS, Options, installed_services
from chorale_mesh.service import is_serving
from chorale_mesh.state import running_mesh, told_mesh
from chorale_mesh.supervisor import Supervisor

_DOWN_SECONDS = 60.0
_POLL_SECONDS = 0.1

# As `chorale --help` tells them.
_EXIT_STATUS = {
    AlreadyRunsError: 9,
    PortTakenError: 9,
    DiskFullError: 7,
    PackageMissingError: 7,
    NotRunningError: 6,
    UnreachableError: 6,
}

_state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="CHORALE_HOME",
    default=lambda: Path.home() / ".chorale",
    show_default="$CHORALE_HOME, or ~/.chorale",
    help="The directory in which the mesh keeps everything.",
)
_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    default=lambda: _group_says_json(),  # noqa: PLW0108 - defined below
    help="Answer in JSON.",
)


@click.command()
@click.option(
    "--only",
    metavar="NAME,NAME",
    default="",
    help=f"The services to start, of {', '.join(SERVICE_PORTS)}. Default: all that are installed.",
)
@click.option(
    "--database",
    metavar="URL",
    default="",
    envvar="CHORALE_DATABASE_URL",
    help="A PostgreSQL with pgvector to use, instead of one brought along.",
)
@click.option(
    "--objects",
    metavar="URL",
    default="",
    envvar="CHORALE_OBJECTS_URL",
    help="An S3 server to use: http(s)://KEY:SECRET@HOST[:PORT][/BUCKET].",
)
@click.option("--edge", is_flag=True, help="Serve REST, gRPC-Web and gRPC on one port, by Envoy.")
@click.option(
    "--ports",
    type=click.Choice(["default", "0"]),
    default="default",
    help="0: free ports, so that several meshes can run side by side.",
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of every service, or of one: log_level=debug, mastering.log_level=debug.",
)
@_state_option
@_json_option
def up(
    only: str,
    database: str,
    objects: str,
    edge: bool,
    ports: str,
    settings: Sequence[str],
    state: Path,
    as_json: bool,
) -> None:
    """Start the mesh on this machine and stay with it until Ctrl-C.

    PostgreSQL, S3 and the services run on loopback, out of one directory. What dies is
    started again. `chorale down` in another terminal stops it, too.
    """
    options = Options(
        state=state.expanduser().resolve(),
        only=[name.strip() for name in only.split(",") if name.strip()],
        objects_url=objects,
        database_url=database,
        edge=edge,
        free_ports=ports == "0",
        settings=_pairs(settings),
    )
    _run(_up(options, as_json))


@click.command()
@_state_option
def down(state: Path) -> None:
    """Stop the mesh that runs on this machine."""
    state = state.expanduser().resolve()
    pid = running_mesh(state)
    if pid is None:
        raise _Failure(NotRunningError(state))
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while running_mesh(state) == pid:
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"Process {pid} has not ended in {_DOWN_SECONDS:.0f} seconds. "
                f"End it with: kill -9 {pid}"
            )
        time.sleep(_POLL_SECONDS)
    click.echo(f"The mesh in {state} is stopped.")


@click.command()
@_state_option
@_json_option
def status(state: Path, as_json: bool) -> None:
    """Show what runs where, and whether it is well. Exit status 1 when something is not."""
    state = state.expanduser().resolve()
    if running_mesh(state) is None:
        raise _Failure(NotRunningError(state))
    mesh = told_mesh(state)
    if not mesh:
        raise click.ClickException(f"The mesh in {state} is still starting.")
    health = asyncio.run(_health(mesh))
    if as_json:
        click.echo(json.dumps(mesh | {"serving": health}))
    else:
        Console().print(mesh_table(mesh, health))
    if not all(health.values()):
        raise click.exceptions.Exit(1)


@click.command()
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("chorale-demo.html"),
    show_default=True,
    help="Where to write the page that shows the result.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another song.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Keep the mesh's state here. Default: a temporary directory, removed at the end.",
)
@_json_option
def demo(page: Path, seed: int, state: Path | None, as_json: bool) -> None:
    """Start a mesh, make a short song, put it through every service, show the result."""
    _run(_demo(Demonstration(page.resolve(), seed, state, as_json)))


def mesh_table(mesh: Mapping[str, Any], health: Mapping[str, bool]) -> Table:
    """What runs where."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "address", "process", "metrics", "state"):
        table.add_column(heading, no_wrap=True)
    for name, part in mesh["parts"].items():
        metrics = mesh["services"].get(name, {}).get("metrics", "")
        well = {True: "[green]serving[/green]", False: "[red]not serving[/red]", None: "running"}
        table.add_row(name, part["address"], str(part["pid"]), metrics, well[health.get(name)])
    return table


async def _up(options: Options, as_json: bool) -> None:
    asked = asyncio.Event()
    console = Console(stderr=True)
    mesh = Supervisor(options, partial(_say, console))
    work = asyncio.current_task()
    assert work is not None

    def ask() -> None:
        if asked.is_set():  # twice: no more patience
            mesh.abandon()
        elif not mesh.is_up:
            work.cancel()
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask)
    with suppress(asyncio.CancelledError):
        async with mesh:
            _show(options, as_json, console)
            await asked.wait()
    _say(console, "stopped")


async def _demo(wish: Demonstration) -> None:
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    chapters = await run_demo(wish)
    if any(chapter.hindrance.startswith("failed") for chapter in chapters):
        raise click.exceptions.Exit(1)


def _say(console: Console, text: str) -> None:
    """One step, unwrapped: paths in it are to be copied."""
    console.print("[bold]==>[/bold]", escape(text), soft_wrap=True, highlight=False)


def _show(options: Options, as_json: bool, console: Console) -> None:
    mesh = told_mesh(options.state)
    if as_json:
        click.echo(json.dumps(mesh))
        return
    Console().print(mesh_table(mesh, dict.fromkeys(mesh["services"], True)))
    absent = [name for name in SERVICE_PORTS if name not in installed_services()]
    if absent and not options.only:
        console.print(f'not installed: {", ".join(absent)} (make setup SERVICES="{absent[0]} ...")')
    console.print(f"The mesh runs in {options.state}. Ctrl-C stops it.")


async def _health(mesh: Mapping[str, Any]) -> dict[str, bool]:
    names = list(mesh["services"])
    answers = await asyncio.gather(
        *(is_serving(mesh["services"][name]["address"], full_name(name)) for name in names)
    )
    return dict(zip(names, answers, strict=True))


def _group_says_json() -> bool:
    """Whether `chorale --json` was said before the subcommand's name."""
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context else None
    return session is not None and session.as_json


def _pairs(settings: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in settings:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--set")
        pairs[name.strip()] = value
    return pairs


class _Failure(click.ClickException):
    """What the person can mend, told in a sentence and with a status of `chorale --help`."""

    def __init__(self, error: MeshError) -> None:
        super().__init__(str(error))
        known = (status for kind, status in _EXIT_STATUS.items() if isinstance(error, kind))
        self.exit_code = next(known, 1)  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Writes it as the other subcommands do."""
        click.echo(f"chorale: {self.message}", file=file, err=True)


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except MeshError as error:
        raise _Failure(error) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise click.ClickException(
            f"The disk is full: {error}. Make room and try again."
        ) from error
