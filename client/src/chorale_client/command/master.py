"""`chorale master`."""

from pathlib import Path

import click

from chorale_client.command import mastering, sources
from chorale_client.command.session import Session, subcommand


@subcommand("master")
@click.argument("sound", metavar="FILE|AUDIO")
@click.option("--preset", default="", help="Settings to begin with, as `chorale presets` lists.")
@mastering.options
def command(
    session: Session,
    sound: str,
    preset: str,
    lufs: float | None,
    eq: str | None,
    ratio: float | None,
    width: float | None,
    ceiling: float | None,
    format_: str,
    out: Path | None,
    report_file: Path | None,
) -> None:
    """Master a sound: tone, dynamics, width, loudness, true peak. A file is stored first.

    \b
    chorale master song.wav --lufs -14 --eq warm -o .
    chorale master audio/9f86d081 --preset jazz --report jazz.html
    """
    from chorale.mastering.v1 import master_pb2

    with session.chorale() as chorale:
        audio = sources.stored(session, chorale, sound)
        request = master_pb2.MasterRequest(
            audio=audio,
            preset=f"presets/{preset.removeprefix('presets/')}" if preset else "",
            settings=mastering.settings(lufs, eq, ratio, width, ceiling),
            outputs=[mastering.output(format_)],
            compare=report_file is not None,
            **mastering.asked(report_file),
        )
        operation = chorale.start(chorale.mastering.Master, request, master_pb2.MasterResponse)
        answer = mastering.finished(session, operation, "mastering")
        mastering.told(session, chorale, answer, out, report_file)
