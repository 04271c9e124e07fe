"""`chorale enroll`."""

import uuid

import click

from chorale_client.command import naming, sources
from chorale_client.command.session import Session, subcommand


@subcommand("enroll")
@click.argument("sounds", nargs=-1, required=True, metavar="FILE|AUDIO...")
@click.option("--title", default="", help="Its title. Default: the title in the file.")
@click.option("--artist", default="", help="Who performs.")
@click.option("--public", is_flag=True, help="Let everybody recognise it.")
@click.option(
    "--duplicates",
    type=click.Choice(("allow", "warn", "reject")),
    help="What to do with what is known. Default: as the tier says.",
)
def command(
    session: Session,
    sounds: tuple[str, ...],
    title: str,
    artist: str,
    public: bool,
    duplicates: str | None,
) -> None:
    """Enrol sounds, so that they are known again. Files are stored first."""
    from chorale.fingerprint.v1 import recordings_pb2

    with session.chorale() as chorale:
        for written in sounds:
            audio = sources.stored(session, chorale, written)
            request = recordings_pb2.EnrollRequest(
                audio=audio,
                title=title or chorale.info(audio).title,
                artist=artist,
                privacy=recordings_pb2.PRIVACY_PUBLIC if public else None,
                policy=f"DUPLICATE_POLICY_{duplicates.upper()}" if duplicates else None,
                request_id=str(uuid.uuid4()),
            )
            response = recordings_pb2.EnrollResponse
            answer = chorale.start(chorale.fingerprint.Enroll, request, response).result()
            session.say(
                answer,
                answer.recording.name,
                "new" if answer.created else "known already",
                answer.recording.title or naming.short(audio, session.for_people),
            )
