"""`chorale rm`."""

import click

from chorale_client.command import naming
from chorale_client.command.session import Session, subcommand


@subcommand("rm")
@click.argument("audio", nargs=-1, required=True)
def command(session: Session, audio: tuple[str, ...]) -> None:
    """Delete AUDIO now, with everything made from it. Prints the names of all that went."""
    with session.chorale() as chorale:
        for written in audio:
            for name in chorale.delete(naming.full(chorale, written)):
                session.say({"deleted": name}, naming.short(name, session.for_people))
