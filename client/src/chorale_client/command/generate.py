"""`chorale generate`."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import mastering, naming, sources, streaming
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.audio.v1.audio_pb2 import Clip
    from chorale.generation.v1.tracks_pb2 import GenerateFromTracksResponse

    from chorale_client.sync import Chorale


@subcommand("generate")
@click.argument("one", metavar="FILE|AUDIO")
@click.argument("other", metavar="FILE|AUDIO")
@click.option("--span-1", default="", help="What to take of the first, as 0:30-0:46.")
@click.option("--span-2", default="", help="What to take of the second.")
@click.option("--influence", type=float, help="What the first gives, 0 to 1. Default: 0.5.")
@click.option("--rhythm", type=click.IntRange(1, 2), help="Which track lends the rhythm.")
@click.option("--bpm", type=float, help="Tempo of the result. Default: between both.")
@click.option("--key", default="", help="Key of the result, as 'A minor'. Default: near both.")
@click.option("--section-bars", type=int, help="Bars between joins. Default: 4.")
@click.option("--seconds", type=float, help="How long. Default: 16.")
@click.option("--rate", type=int, help="Frames per second. Default: 24000.")
@click.option("--stereo", is_flag=True, help="Two channels instead of one.")
@click.option("--lufs", type=float, help="Integrated loudness. Default: -14.")
@click.option("--seed", type=int, help="The same seed makes the same audio. Default: any.")
@click.option("--engine", default="", help="As `chorale engines generation` lists them.")
@click.option("--model", default="", help="Cascade of encodec-cascade. Default: models/cascade.")
@click.option("--codec", default="", help="Its codec. Default: models/encodec-24khz.")
@click.option("--stages", type=int, help="Stages of the cascade to run. Default: all it has.")
@click.option("--listen", default="", help="Write sound here while it is made; - is a pipe.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the WAV file here.")
def command(session: Session, one: str, other: str, out: Path | None, **said: Any) -> None:
    """Make one track out of two: the rhythm of one, the harmony of the other.

    \b
    chorale generate a.mp3 b.mp3 -o both.wav
    chorale generate a.mp3 b.mp3 --influence 0.7 --seconds 30 --stereo --seed 1
    chorale generate a.mp3 b.mp3 --seconds 120 --listen - | ffplay -autoexit -
    """
    from chorale.generation.v1 import outputs_pb2, tracks_pb2

    with session.chorale() as chorale:
        request = tracks_pb2.GenerateFromTracksRequest(
            track_1=_clip(session, chorale, one, said["span_1"]),
            track_2=_clip(session, chorale, other, said["span_2"]),
            engine=said["engine"],
            request_id=str(uuid.uuid4()),
            seed=said["seed"],
            output=outputs_pb2.OutputSettings(
                duration_seconds=said["seconds"] or 0.0,
                sample_rate_hz=said["rate"] or 0,
                channel_count=2 if said["stereo"] else 0,
                loudness_lufs=said["lufs"],
            ),
            mosaic=tracks_pb2.MosaicSettings(
                influence=said["influence"],
                rhythm_track=said["rhythm"] or 0,
                bpm=said["bpm"] or 0.0,
                key=said["key"],
                section_bars=said["section_bars"] or 0,
            ),
        )
        cascade = tracks_pb2.CascadeSettings(
            model=said["model"], codec=said["codec"], stage_count=said["stages"] or 0
        )
        if cascade.ByteSize():
            request.cascade.CopyFrom(cascade)
        if not request.mosaic.ByteSize():
            request.ClearField("mosaic")  # another engine need not know it
        operation = chorale.start(
            chorale.generation.GenerateFromTracks, request, tracks_pb2.GenerateFromTracksResponse
        )
        if said["listen"]:
            streaming.listen(chorale, operation.name, said["listen"])
        answer = mastering.finished(session, operation, "generating")
        path = _written(chorale, answer.audio, out)
        if said["listen"] != "-":  # there the sound went
            _tell(session, answer, path)
        if not session.as_json:
            _warn(answer, operation.name)


def _clip(session: Session, chorale: "Chorale", sound: str, stretch: str) -> "Clip":
    from chorale.audio.v1 import audio_pb2

    audio = sources.stored(session, chorale, sound)
    return audio_pb2.Clip(audio=audio, span=mastering.preview(chorale, audio, stretch))


def _written(chorale: "Chorale", audio: str, out: Path | None) -> str:
    if out is None:
        return ""
    return str(chorale.get(audio, out / "generated_music.wav" if out.is_dir() else out))


def _figure(value: float, unit: str) -> str:
    """A figure that was asked for, or heard; nothing where it was not."""
    return f"{value:.1f} {unit}" if value else ""


def _tell(session: Session, answer: "GenerateFromTracksResponse", path: str) -> None:
    """What was meant, and what is heard."""
    heard = answer.generation.adherence
    if not session.as_json:
        rows = [
            ("tempo", _figure(heard.wanted_bpm, "BPM"), _figure(heard.found_bpm, "BPM")),
            ("key", heard.wanted_key, heard.found_key),
            ("loudness", "", _figure(heard.integrated_lufs, "LUFS")),
            ("seed", str(answer.seed), ""),
        ]
        session.table(("what", "meant", "heard"), rows)
    session.say(answer, naming.short(answer.audio, session.for_people), path)


def _warn(answer: "GenerateFromTracksResponse", operation: str) -> None:
    """What had to give, what is off, and how to read more of it."""
    for concession in answer.generation.concessions:
        click.echo(f"memory was short: {concession}", err=True)
    for warning in (*answer.generation.adherence.warnings, *answer.masks.warnings):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"why: chorale explain {operation}", err=True)
