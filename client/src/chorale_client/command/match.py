"""`chorale match`."""

from pathlib import Path

import click

from chorale_client.command import mastering, sources
from chorale_client.command.session import Session, subcommand


@subcommand("match")
@click.argument("sound", metavar="FILE|AUDIO")
@click.option(
    "--reference", required=True, metavar="FILE|AUDIO|references/...", help="What to sound like."
)
@click.option("--amount", type=float, help="How far to go, in percent. Default: 100.")
@mastering.options
def command(
    session: Session,
    sound: str,
    reference: str,
    amount: float | None,
    lufs: float | None,
    eq: str | None,
    ratio: float | None,
    width: float | None,
    ceiling: float | None,
    format_: str,
    out: Path | None,
    report_file: Path | None,
) -> None:
    """Master a sound towards a reference: its tone, loudness, width and peak.

    \b
    chorale match song.wav --reference theirs.wav -o .
    """
    from chorale.mastering.v1 import matching_pb2

    kept = reference if reference.startswith("references/") else ""
    with session.chorale() as chorale:
        audio = sources.stored(session, chorale, sound)
        request = matching_pb2.MatchReferenceRequest(
            audio=audio,
            reference=kept,
            reference_audio="" if kept else sources.stored(session, chorale, reference),
            match=matching_pb2.MatchSettings(amount_percent=amount),
            settings=mastering.settings(lufs, eq, ratio, width, ceiling),
            outputs=[mastering.output(format_)],
            **mastering.asked(report_file),
        )
        operation = chorale.start(
            chorale.mastering.MatchReference, request, matching_pb2.MatchReferenceResponse
        )
        answer = mastering.finished(session, operation, "matching")
        if not session.as_json:
            for warning in answer.reference_warnings:
                click.echo(f"reference: {warning.message}", err=True)
        mastering.told(session, chorale, answer, out, report_file, matched_input=audio)
