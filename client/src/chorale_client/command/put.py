"""`chorale put`."""

import sys
from pathlib import Path

import click

from chorale_client.command import naming
from chorale_client.command.exits import status_of
from chorale_client.command.session import Session, subcommand


@subcommand("put")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--title", default="", help="For people. Default: the title in the file.")
@click.option("--tag", "tags", multiple=True, help="For people and filters. May be repeated.")
@click.option("--file-name", default="", help="The name to remember, such as for stdin.")
@click.option("--public", is_flag=True, help="Let everybody read it.")
@click.option(
    "--request-id",
    default="",
    metavar="UUID",
    help="Continue the upload begun with this UUID. One file only.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print whole names and nothing else.")
def command(
    session: Session,
    files: tuple[str, ...],
    title: str,
    tags: tuple[str, ...],
    file_name: str,
    public: bool,
    request_id: str,
    quiet: bool,
) -> None:
    """Store FILES in the mesh; - is stdin. Prints the name of each, audio/{sha256}.

    A broken connection is mended: the upload goes on from what the server has. A file that you
    have stored before costs nothing. When one of several files fails, the others are still
    stored; the exit status is that of the last failure.
    """
    if request_id and len(files) > 1:
        raise click.UsageError("--request-id names one upload; give one file.")
    from chorale.ingest.v1.audio_pb2 import PRIVACY_PUBLIC

    from chorale_client.command.main import tell
    from chorale_client.errors import ChoraleError

    failed = 0
    with session.chorale() as chorale:
        for file in files:
            label = file_name or (Path(file).name if file != "-" else "stdin")
            try:
                with session.progress(label) as progress:
                    audio = chorale.put(
                        sys.stdin.buffer if file == "-" else file,
                        file_name=file_name,
                        title=title,
                        tags=tags,
                        privacy=PRIVACY_PUBLIC if public else None,
                        request_id=request_id,
                        progress=progress,
                    )
            except ChoraleError as error:
                if len(files) == 1:
                    raise
                error.message = f"{file}: {error.message}"
                tell(click.get_current_context(), error)
                failed = status_of(error)
                continue
            name = audio.name if quiet else naming.short(audio.name, session.for_people)
            session.say(audio, *([name] if quiet else [name, naming.shape(audio)]))
    if failed:
        raise click.exceptions.Exit(failed)
