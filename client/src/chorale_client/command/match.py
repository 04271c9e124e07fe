"""`chorale match`."""

import uuid

import click

from chorale_client.command import mastering, sources, wishes
from chorale_client.command.session import Session, subcommand
from chorale_client.command.wishes import Files, Wishes


@subcommand("match")
@click.argument("sound", metavar="FILE|AUDIO")
@click.option(
    "--reference", required=True, metavar="FILE|AUDIO|references/...", help="What to sound like."
)
@click.option("--amount", type=float, help="How far to go, in percent. Default: 100.")
@click.option("--preview", default="", help="Only this stretch of the master, as 1:00-1:15.")
@wishes.options
@wishes.file_options
def command(
    session: Session,
    sound: str,
    reference: str,
    amount: float | None,
    preview: str,
    wishes: Wishes,
    files: Files,
) -> None:
    """Master a sound towards a reference: its tone, loudness, width and peak.

    \b
    chorale match song.wav --reference theirs.wav -o .
    chorale match song.wav --reference theirs.wav --amount 60 --report match.html
    """
    from chorale.mastering.v1 import matching_pb2

    kept = reference if reference.startswith("references/") else ""
    outputs = files.outputs
    with session.chorale() as chorale:
        audio = sources.stored(session, chorale, sound)
        span = mastering.preview(chorale, audio, preview)
        request = matching_pb2.MatchReferenceRequest(
            audio=audio,
            reference=kept,
            reference_audio="" if kept else sources.stored(session, chorale, reference),
            request_id=str(uuid.uuid4()),
            match=matching_pb2.MatchSettings(amount_percent=amount),
            settings=wishes.settings,
            preview_span=span,
            outputs=outputs,
            curve_points=mastering.curve_points(files.report_file),
        )
        operation = chorale.start(
            chorale.mastering.MatchReference, request, matching_pb2.MatchReferenceResponse
        )
        answer = mastering.finished(session, operation, "matching")
        if not session.as_json:
            for warning in answer.reference_warnings:
                click.echo(f"reference: {warning.message}", err=True)
        written = mastering.fetched(chorale, answer.masters, files.out)
        if files.report_file is not None:
            mastering.write_report(chorale, audio, answer.masters[0], span, files.report_file)
        mastering.told(session, answer, written)
