"""`chorale cut`."""

import click

from chorale_client.command import naming, spans
from chorale_client.command.session import Session, subcommand


@subcommand("cut")
@click.argument("audio")
@click.argument("start")
@click.argument("end", default="")
@click.option("--title", default="", help="For people. Default: the parent's with the times.")
@click.option("--tag", "tags", multiple=True, help="For people and filters. May be repeated.")
def command(
    session: Session, audio: str, start: str, end: str, title: str, tags: tuple[str, ...]
) -> None:
    """Make new audio of AUDIO from START to END (1:30 or 90.5), to the sample.

    Without END it goes to the end. Prints the name of the cut, which remembers what it was cut
    from.
    """
    from chorale.ingest.v1.audio_pb2 import AudioCutDetails, CutAudioRequest

    with session.chorale() as chorale:
        parent = chorale.info(naming.full(chorale, audio))
        request = CutAudioRequest(
            name=parent.name,
            span=spans.span(parent, start, end),
            details=AudioCutDetails(title=title, tags=tags),
        )
        cut = chorale.ingest.CutAudio(request).audio
    session.say(cut, naming.short(cut.name, session.for_people), naming.shape(cut))
