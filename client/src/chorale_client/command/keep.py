"""`chorale keep`."""

import click

from chorale_client.command import naming
from chorale_client.command.session import Session, subcommand


@subcommand("keep")
@click.argument("audio", nargs=-1, required=True)
@click.option("--release", is_flag=True, help="Let it expire again, a full lifetime from now.")
def command(session: Session, audio: tuple[str, ...], release: bool) -> None:
    """Keep AUDIO past its expiry. Prints each with the time it goes, if it goes."""
    from chorale.ingest.v1.audio_pb2 import KeepAudioRequest

    with session.chorale() as chorale:
        for written in audio:
            request = KeepAudioRequest(name=naming.full(chorale, written), release=release)
            found = chorale.ingest.KeepAudio(request).audio
            name = naming.short(found.name, session.for_people)
            goes = found.expire_time.ToDatetime().isoformat(" ", "minutes")
            session.say(found, name, f"goes {goes} UTC" if release else "kept")
