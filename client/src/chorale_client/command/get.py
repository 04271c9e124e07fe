"""`chorale get`."""

import sys
from pathlib import Path

import click

from chorale_client.command import naming
from chorale_client.command.session import Session, subcommand


@subcommand("get")
@click.argument("audio")
@click.option(
    "-o",
    "--output",
    default=".",
    type=click.Path(allow_dash=True),
    help="File or directory; - is stdout. Default: here, under the file's own name.",
)
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
def command(session: Session, audio: str, output: str, force: bool) -> None:
    """Write AUDIO to a file, byte for byte as it came.

    What has come so far lies in a hidden .part file beside it; calling again continues that. The
    file itself appears when it is whole and its digest is right.
    """
    with session.chorale() as chorale:
        name = naming.full(chorale, audio)
        if output == "-":
            for data in chorale.read_bytes(name):
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        target = Path(output)
        if target.is_dir():
            from chorale_client.aio import file_name_of

            target = target / file_name_of(chorale.info(name))
        if target.exists() and not force:
            raise click.UsageError(f"{target} is there already; --force replaces it.")
        with session.progress(target.name) as progress:
            chorale.get(name, target, progress=progress)
    size_bytes = target.stat().st_size
    session.say(
        {"audio": name, "path": str(target), "sizeBytes": str(size_bytes)},
        str(target),
        naming.size(size_bytes),
    )
