"""`chorale put`."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import gathering, naming
from chorale_client.command.exits import status_of
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale_client.sync import Chorale


@dataclass(frozen=True)
class Putting:
    """How files are put."""

    session: Session
    chorale: "Chorale"
    options: dict[str, Any]
    jobs: int
    quiet: bool

    def put(self, files: Sequence[str]) -> int:
        """Put them, several at a time; returns the exit status of the last failure, or 0."""
        failed = 0
        with ThreadPoolExecutor(min(self.jobs, len(files) or 1)) as pool:
            running = {pool.submit(self._one, file, len(files) == 1): file for file in files}
            for future in running:  # told in the order in which they were named
                failed = self._tell(running[future], future, len(files) == 1) or failed
        return failed

    def _one(self, file: str, is_only: bool) -> Any:
        label = self.options["file_name"] or (Path(file).name if file != "-" else "stdin")
        source = sys.stdin.buffer if file == "-" else file
        with self.session.progress(label) if is_only else nullcontext() as progress:
            return self.chorale.put(source, progress=progress, **self.options)

    def _tell(self, file: str, future: Any, is_only: bool) -> int:
        from chorale_client.command.main import tell
        from chorale_client.errors import ChoraleError

        try:
            audio = future.result()
        except ChoraleError as error:
            if is_only:
                raise
            error.message = f"{file}: {error.message}"
            tell(click.get_current_context(), error)
            return status_of(error)
        if self.quiet:
            self.session.say(audio, audio.name)
        else:
            name = naming.short(audio.name, self.session.for_people)
            of = [] if is_only else [file]
            self.session.say(audio, name, naming.shape(audio), *of)
        return 0


@subcommand("put")
@click.argument("files", nargs=-1, required=True)
@click.option("--title", default="", help="For people. Default: the title in the file.")
@click.option("--tag", "tags", multiple=True, help="For people and filters. May be repeated.")
@click.option("--file-name", default="", help="The name to remember, such as for stdin.")
@click.option("--public", is_flag=True, help="Let everybody read it.")
@click.option("--cover", is_flag=True, help="Keep the cover art in the file, too.")
@click.option(
    "--request-id",
    default="",
    metavar="UUID",
    help="Continue the upload begun with this UUID. One file only.",
)
@click.option(
    "-j",
    "--jobs",
    default=4,
    show_default=True,
    type=click.IntRange(1, 32),
    help="How many files are sent at a time.",
)
@click.option("--watch", is_flag=True, help="Go on: store what comes into the folders, until ^C.")
@click.option("-q", "--quiet", is_flag=True, help="Print whole names and nothing else.")
def command(
    session: Session,
    files: tuple[str, ...],
    title: str,
    tags: tuple[str, ...],
    file_name: str,
    public: bool,
    cover: bool,
    request_id: str,
    jobs: int,
    watch: bool,
    quiet: bool,
) -> None:
    """Store FILES in the mesh; - is stdin. Prints the name of each, audio/{sha256}.

    A folder stands for all sound in it, a pattern ('takes/**/*.wav') for what it matches. A broken
    connection is mended: the upload goes on from what the server has. A file that you have stored
    before costs nothing. When one of several files fails, the others are still stored; the exit
    status is that of the last failure.
    """
    found = gathering.files(files)
    folders = [each for each in files if Path(each).is_dir()]
    if request_id and len(found) != 1:
        raise click.UsageError("--request-id names one upload; give one file.")
    if watch and not folders:
        raise click.UsageError("--watch needs a folder to watch.")
    from chorale.ingest.v1.audio_pb2 import PRIVACY_PUBLIC

    options = {
        "file_name": file_name,
        "title": title,
        "tags": tags,
        "privacy": PRIVACY_PUBLIC if public else None,
        "keep_cover": cover,
        "request_id": request_id,
    }
    with session.chorale() as chorale:
        putting = Putting(session, chorale, options, jobs, quiet)
        failed = putting.put(found)
        if watch:
            for ready in gathering.later(folders, found):
                putting.put(ready)
    if failed:
        raise click.exceptions.Exit(failed)
