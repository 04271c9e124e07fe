"""`chorale identify`."""

import uuid
from typing import TYPE_CHECKING

import click

from chorale_client.command import naming, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.fingerprint.v1.recordings_pb2 import Match

_COLUMNS = ("recording", "title", "artist", "heard at", "is there", "score", "by chance")


@subcommand("identify")
@click.argument("sound", metavar="FILE|AUDIO")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option("--own", is_flag=True, help="Only among your own recordings.")
def command(session: Session, sound: str, limit: int, own: bool) -> None:
    """Say which recordings a sound holds, where, and how surely. A file is stored first.

    Prints nothing when none is known. The last column is how often unknown music scores as much.
    """
    from chorale.fingerprint.v1 import recordings_pb2

    with session.chorale() as chorale:
        audio = sources.stored(session, chorale, sound)
        request = recordings_pb2.IdentifyRequest(
            audio=audio, limit=limit, own_only=own, request_id=str(uuid.uuid4())
        )
        response = recordings_pb2.IdentifyResponse
        answer = chorale.start(chorale.fingerprint.Identify, request, response).result()
        rate_hz = chorale.info(audio).format.sample_rate_hz
    if session.as_json:
        session.say(answer)
    elif answer.matches:
        session.table(_COLUMNS, [_row(match, rate_hz) for match in answer.matches])
    elif session.for_people:
        click.echo("Nothing that is enrolled is in it.")


def _row(match: "Match", rate_hz: int) -> tuple[str, ...]:
    recording = match.recording
    there_hz = recording.sample_rate_hz or 1
    return (
        recording.name,
        recording.title,
        recording.artist,
        naming.clock(match.query_span.start_frame / rate_hz),
        naming.clock(match.recording_span.start_frame / there_hz),
        f"{match.score:.2f}",
        f"{match.false_positive_rate:.1g}",
    )
