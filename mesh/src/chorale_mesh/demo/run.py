"""Runs the demonstration: a mesh, a song, the journey, the page."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from chorale_client import AsyncChorale
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chorale_mesh.demo import page
from chorale_mesh.demo.journey import Chapter, Journey, travel
from chorale_mesh.demo.journey import Progress as Tell
from chorale_mesh.demo.sections import SECTIONS
from chorale_mesh.demo.song import compose
from chorale_mesh.plan import Options
from chorale_mesh.state import told_mesh
from chorale_mesh.supervisor import Supervisor


@dataclass(frozen=True)
class Demonstration:
    """What was asked for."""

    page: Path
    seed: int
    state: Path | None
    """Where the mesh keeps its state; None: somewhere temporary."""
    as_json: bool


async def run(wish: Demonstration) -> list[Chapter]:
    """Does it all, and says where the page is; what could not be told is said plainly."""
    console = Console(stderr=wish.as_json)
    begun = time.perf_counter()
    with _state(wish.state) as state:
        options = Options(state=state, free_ports=True)
        async with Supervisor(options, lambda text: _say(console, text)) as mesh:
            _say(console, f"{len(mesh.services)} services are up ({_since(begun)})")
            song = compose(wish.seed)
            _say(console, f"made a song: {song.title}, {song.bpm:.0f} BPM, {song.key}")
            with _progress(console) as tell:
                async with AsyncChorale(home=state, addresses=_addresses(mesh)) as chorale:
                    journey = Journey(chorale, song, tell)
                    chapters = await travel(journey, SECTIONS)
            told = page.render(
                song, journey.signal, journey.beats_seconds, chapters, told_mesh(state)
            )
            wish.page.parent.mkdir(parents=True, exist_ok=True)
            wish.page.write_text(told, encoding="utf-8")
    _show(console, wish, chapters)
    _say(console, f"done in {_since(begun)}. The page, with sound: {wish.page.as_uri()}")
    return chapters


def _addresses(mesh: Supervisor) -> dict[str, str]:
    return {part.name: part.address for part in mesh.services}


def _show(console: Console, wish: Demonstration, chapters: Sequence[Chapter]) -> None:
    if wish.as_json:
        rows = [
            {
                "step": chapter.title,
                "service": chapter.service,
                "result": chapter.headline,
                "ok": not chapter.hindrance,
                "seconds": round(chapter.seconds, 3),
                "traceId": chapter.trace,
            }
            for chapter in chapters
        ]
        click.echo(json.dumps({"page": str(wish.page), "steps": rows}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("step", "by", "result", "seconds"):
        table.add_column(heading)
    for chapter in chapters:
        style = "yellow" if chapter.hindrance else ""
        result = escape(chapter.headline)
        seconds = f"{chapter.seconds:.2f}"
        table.add_row(chapter.title, chapter.service or "all", result, seconds, style=style)
    console.print(table)


@contextmanager
def _progress(console: Console) -> Iterator[Tell]:
    """A bar on a terminal; nothing in a pipe."""
    columns = (TextColumn("    {task.description}"), BarColumn(30), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda title, fraction: bar.update(task, description=title, completed=fraction)


@contextmanager
def _state(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        yield wanted.expanduser().resolve()
        return
    with tempfile.TemporaryDirectory(prefix="chorale-demo-") as temporary:
        yield Path(temporary)


def _say(console: Console, text: str) -> None:
    console.print("[bold]==>[/bold]", escape(text), soft_wrap=True, highlight=False)


def _since(begun: float) -> str:
    return f"{time.perf_counter() - begun:.1f} s"
