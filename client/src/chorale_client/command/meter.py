"""`chorale meter`."""

import sys
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import mastering, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.mastering.v1.loudness_pb2 import Loudness

_ROWS = (
    ("integrated", "integrated_lufs", "LUFS"),
    ("momentary, most", "max_momentary_lufs", "LUFS"),
    ("short-term, most", "max_short_term_lufs", "LUFS"),
    ("loudness range", "loudness_range_lu", "LU"),
    ("true peak", "true_peak_dbtp", "dBTP"),
    ("sample peak", "sample_peak_dbfs", "dBFS"),
    ("peak to loudness", "peak_to_loudness_lu", "LU"),
    ("correlation", "stereo_correlation", ""),
    ("dynamic range", "dynamic_range_db", "dB"),
)
_BLOCK_FRAMES = 4800


@subcommand("meter")
@click.argument("sound", metavar="FILE|AUDIO|-")
@click.option("--live", is_flag=True, help="Float32 frames from stdin, measured as they come.")
@click.option("--rate", default=48000, show_default=True, help="Of the frames, with --live.")
@click.option("--channels", default=2, show_default=True, help="Of the frames, with --live.")
def command(session: Session, sound: str, live: bool, rate: int, channels: int) -> None:
    """Measure loudness by ITU-R BS.1770-5 and EBU R 128. A file is stored first.

    \b
    chorale meter song.wav
    ffmpeg -i song.wav -f f32le -ar 48000 -ac 2 - | chorale meter - --live
    """
    if live:
        _live(session, rate, channels)
        return
    from chorale.mastering.v1 import loudness_pb2

    with session.chorale() as chorale:
        request = loudness_pb2.MeasureLoudnessRequest(
            audio=sources.stored(session, chorale, sound), request_id=str(uuid.uuid4())
        )
        operation = chorale.start(
            chorale.mastering.MeasureLoudness, request, loudness_pb2.MeasureLoudnessResponse
        )
        answer = mastering.finished(session, operation, "measuring")
    if session.as_json:
        session.say(answer)
    else:
        session.table(("what", "value"), _rows(answer.loudness))


def _live(session: Session, rate_hz: int, channel_count: int) -> None:
    last: Any = None
    with session.chorale() as chorale:
        for last in chorale.mastering.MeterStream(_requests(rate_hz, channel_count)):
            if session.as_json:
                session.say(last)
            elif session.for_people:
                line = f"{last.momentary_lufs:7.1f} M {last.short_term_lufs:7.1f} S LUFS"
                click.echo(f"\r{line}", nl=False, err=True)
    if last is not None and not session.as_json:
        session.table(("what", "value"), _rows(last.loudness))


def _requests(rate_hz: int, channel_count: int) -> Iterator[Any]:
    from chorale.mastering.v1 import loudness_pb2

    config = loudness_pb2.MeterConfig()
    config.format.sample_rate_hz, config.format.channel_count = rate_hz, channel_count
    yield loudness_pb2.MeterStreamRequest(config=config)
    while data := sys.stdin.buffer.read(_BLOCK_FRAMES * 4 * channel_count):
        yield loudness_pb2.MeterStreamRequest(frames=data)


def _rows(loudness: "Loudness") -> list[tuple[str, str]]:
    return [(what, f"{getattr(loudness, name):.2f} {unit}".strip()) for what, name, unit in _ROWS]
