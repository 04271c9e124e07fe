"""`chorale preview`."""

import sys
from pathlib import Path

import click

from chorale_client.command import naming, spans
from chorale_client.command.session import Session, subcommand

SUFFIXES = {"mp3": "MP3", "opus": "OPUS", "flac": "FLAC", "wav": "WAV16"}


@subcommand("preview")
@click.argument("audio")
@click.option("--start", default="", help="From here, such as 1:30. Default: the loudest passage.")
@click.option("--end", default="", help="To here; 15 s at most.")
@click.option(
    "-o",
    "--output",
    default="",
    type=click.Path(allow_dash=True, dir_okay=False),
    help="A file, whose ending says the encoding (mp3, opus, flac, wav); - is stdout, as MP3.",
)
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
def command(session: Session, audio: str, start: str, end: str, output: str, force: bool) -> None:
    """Write at most 15 s of AUDIO to a file, faded in and out."""
    from chorale.ingest.v1.reading_pb2 import GetPreviewRequest

    if end and not start:
        raise click.UsageError("--end needs --start.")
    with session.chorale() as chorale:
        found = chorale.info(naming.full(chorale, audio))
        target = Path(output or f"{found.name.partition('/')[2][:8]}-preview.mp3")
        kind = SUFFIXES.get(target.suffix.removeprefix(".") if output != "-" else "mp3")
        if kind is None:
            raise click.UsageError(f"{target} must end in one of .{', .'.join(SUFFIXES)}.")
        if output != "-" and target.exists() and not force:
            raise click.UsageError(f"{target} is there already; --force replaces it.")
        request = GetPreviewRequest(audio=found.name, encoding=f"ENCODING_{kind}")
        if start:
            request.span.CopyFrom(spans.span(found, start, end))
        data = b"".join(part.data for part in chorale.ingest.GetPreview(request))
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    target.write_bytes(data)
    session.say({"audio": found.name, "path": str(target)}, str(target), naming.size(len(data)))
