"""`chorale master`."""

import uuid
from typing import TYPE_CHECKING

import click

from chorale_client.command import mastering, naming, sources, wishes
from chorale_client.command.session import Session, subcommand
from chorale_client.command.wishes import Files, Wishes

if TYPE_CHECKING:
    from chorale.mastering.v1.master_pb2 import MasterAlbumResponse

    from chorale_client.sync import Chorale

RELATIONS = ("keep", "loudest", "equal")


@subcommand("master")
@click.argument("sounds", metavar="FILE|AUDIO...", nargs=-1, required=True)
@click.option("--preset", default="", help="Settings to begin with, as `chorale presets` lists.")
@click.option("--preview", default="", help="Only this stretch of the master, as 1:00-1:15.")
@click.option(
    "--album",
    type=click.Choice(RELATIONS),
    help="Of several sounds: keep how loud they are to each other (the default), bring the "
    "loudest or each to the target.",
)
@wishes.options
@wishes.file_options
def command(
    session: Session,
    sounds: tuple[str, ...],
    preset: str,
    preview: str,
    album: str | None,
    wishes: Wishes,
    files: Files,
) -> None:
    """Master a sound, or several as an album. Files are stored first.

    \b
    chorale master song.wav --lufs -14 --eq warm -o .
    chorale master audio/9f86d081 --preset jazz --report jazz.html
    chorale master song.wav --format wav24 --format mp3-320 -o masters/
    chorale master 01.wav 02.wav 03.wav --lufs -14 -o album/
    """
    begin = f"presets/{preset.removeprefix('presets/')}" if preset else ""
    if album or len(sounds) > 1:
        if preview or files.report_file:
            raise click.UsageError("--preview and --report are for one sound, not for an album.")
        _master_album(session, sounds, begin, album or "keep", wishes, files)
    else:
        _master(session, sounds[0], begin, preview, wishes, files)


def _master(
    session: Session, sound: str, preset: str, preview: str, wishes: Wishes, files: Files
) -> None:
    from chorale.mastering.v1 import master_pb2

    outputs = files.outputs
    with session.chorale() as chorale:
        audio = sources.stored(session, chorale, sound)
        span = mastering.preview(chorale, audio, preview)
        request = master_pb2.MasterRequest(
            audio=audio,
            preview_span=span,
            request_id=str(uuid.uuid4()),
            preset=preset,
            settings=wishes.settings,
            outputs=outputs,
            curve_points=mastering.curve_points(files.report_file),
        )
        operation = chorale.start(chorale.mastering.Master, request, master_pb2.MasterResponse)
        answer = mastering.finished(session, operation, "mastering")
        written = mastering.fetched(chorale, answer.masters, files.out)
        if files.report_file is not None:
            mastering.write_report(chorale, audio, answer.masters[0], span, files.report_file)
        mastering.told(session, answer, written)


def _master_album(
    session: Session,
    sounds: tuple[str, ...],
    preset: str,
    relation: str,
    wishes: Wishes,
    files: Files,
) -> None:
    from chorale.mastering.v1 import master_pb2

    outputs = files.outputs
    if len(outputs) > 1:
        raise click.UsageError("An album is written in one format.")
    if files.out is not None and not files.out.is_dir():
        raise click.UsageError(f"{files.out} must be a folder: {len(sounds)} files are made.")
    with session.chorale() as chorale:
        request = master_pb2.MasterAlbumRequest(
            tracks=[sources.stored(session, chorale, sound) for sound in sounds],
            loudness=f"ALBUM_LOUDNESS_{relation.upper()}",
            request_id=str(uuid.uuid4()),
            preset=preset,
            settings=wishes.settings,
            output=outputs[0],
        )
        operation = chorale.start(
            chorale.mastering.MasterAlbum, request, master_pb2.MasterAlbumResponse
        )
        answer = mastering.finished(session, operation, "mastering")
        _tell_album(session, chorale, answer, files)


def _tell_album(
    session: Session, chorale: "Chorale", answer: "MasterAlbumResponse", files: Files
) -> None:
    """A line for each track, and one for the whole."""
    written = mastering.fetched(chorale, answer.masters, files.out)
    if session.as_json:
        session.say(answer)
        return
    rows = []
    for made, path, gain_db in zip(answer.masters, written, answer.track_gain_db, strict=True):
        before, after = made.report.before, made.report.after
        rows.append(
            (
                naming.short(made.audio, session.for_people),
                path,
                f"{before.integrated_lufs:.2f} LUFS",
                f"{after.integrated_lufs:.2f} LUFS",
                f"{after.true_peak_dbtp:.2f} dBTP",
                f"{gain_db:+.2f} dB",
            )
        )
        for warning in made.report.warnings:
            click.echo(f"warning: {path}: {warning.message}", err=True)
    session.table(("audio", "file", "before", "after", "true peak", "gain"), rows)
    click.echo(f"album: {answer.album.integrated_lufs:.2f} LUFS", err=True)
