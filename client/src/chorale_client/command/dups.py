"""`chorale dups`."""

import uuid
from typing import TYPE_CHECKING

import click

from chorale_client.command import naming, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale_client.sync import Chorale

_GROUP_COLUMNS = ("first", "title", "also as", "title", "alike")


@subcommand("dups")
@click.argument("sounds", nargs=-1, metavar="[FILE|AUDIO]...")
@click.option(
    "--alike",
    type=click.FloatRange(0.0, 1.0),
    help="Least likeness by ear that is a duplicate. Default: 0.85.",
)
def command(session: Session, sounds: tuple[str, ...], alike: float | None) -> None:
    """Say what is enrolled twice; or, of sounds that are named, whether each is known.

    Enrols nothing and deletes nothing. Files are stored first.
    """
    with session.chorale() as chorale:
        if sounds:
            for written in sounds:
                _check(session, chorale, written, alike)
        else:
            _report(session, chorale, alike)


def _report(session: Session, chorale: "Chorale", alike: float | None) -> None:
    from chorale.fingerprint.v1 import catalogue_pb2

    request = catalogue_pb2.ReportDuplicatesRequest(
        acoustic_threshold=alike, request_id=str(uuid.uuid4())
    )
    response = catalogue_pb2.ReportDuplicatesResponse
    answer = chorale.start(chorale.fingerprint.ReportDuplicates, request, response).result()
    if session.as_json:
        session.say(answer)
        return
    rows = [
        (
            group.recording.name,
            group.recording.title,
            naming.short(match.recording.audio, session.for_people)
            if match.recording.name == group.recording.name
            else match.recording.name,
            match.recording.title,
            f"{match.score:.2f}",
        )
        for group in answer.groups
        for match in group.duplicates
    ]
    if rows:
        session.table(_GROUP_COLUMNS, rows)
    if session.for_people:
        size = naming.size(answer.duplicate_bytes)
        click.echo(f"{answer.duplicate_count} of {answer.recording_count} recordings, {size}.")


def _check(session: Session, chorale: "Chorale", written: str, alike: float | None) -> None:
    from chorale.fingerprint.v1 import catalogue_pb2, recordings_pb2

    audio = sources.stored(session, chorale, written)
    request = catalogue_pb2.CheckDuplicatesRequest(
        audio=audio, acoustic_threshold=alike, request_id=str(uuid.uuid4())
    )
    response = catalogue_pb2.CheckDuplicatesResponse
    answer = chorale.start(chorale.fingerprint.CheckDuplicates, request, response).result()
    report = answer.duplicates
    level = recordings_pb2.DuplicateLevel.Name(report.level)
    told = level.removeprefix("DUPLICATE_LEVEL_").lower() if report.is_duplicate else "new"
    session.say(
        answer,
        naming.short(audio, session.for_people),
        told,
        report.matches[0].recording.name if report.matches else "",
        report.message,
    )
