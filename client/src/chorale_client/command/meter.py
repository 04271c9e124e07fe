"""`chorale meter`."""

import sys
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import mastering, naming, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.mastering.v1.loudness_pb2 import (
        Loudness,
        MeterStreamRequest,
        MeterStreamResponse,
    )

    from chorale_client.sync import Chorale

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
_LOW_LUFS, _BAR_CELLS = -40.0, 24


@subcommand("meter")
@click.argument("sound", metavar="[FILE|AUDIO|-]", default="-")
@click.option("--live", is_flag=True, help="Measure while it comes, and show how loud it is now.")
@click.option("--rate", default=48000, show_default=True, help="Of float32 frames on stdin.")
@click.option("--channels", default=2, show_default=True, help="Of float32 frames on stdin.")
def command(session: Session, sound: str, live: bool, rate: int, channels: int) -> None:
    """Measure loudness by ITU-R BS.1770-5 and EBU R 128. A file is stored first.

    With --live a sound is measured as fast as it plays on a terminal, else as fast as can be, and
    without one, or with -, so are float32 frames from stdin. Every answer is a line with --json.

    \b
    chorale meter song.wav
    chorale meter song.wav --live
    ffmpeg -i song.wav -f f32le -ar 48000 -ac 2 - | chorale meter --live
    """
    if live:
        _live(session, sound, rate, channels)
        return
    if sound == "-":
        raise click.UsageError("A sound is needed, or --live for frames on stdin.")
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


def _live(session: Session, sound: str, rate_hz: int, channel_count: int) -> None:
    last: Any = None
    with session.chorale() as chorale:
        if sound == "-":
            requests = _from_stdin(rate_hz, channel_count)
        else:
            audio = sources.stored(session, chorale, sound)
            requests = _played(chorale, audio, session.for_people)
        for last in chorale.mastering.MeterStream(requests):
            if session.as_json:
                session.say(last)
            elif session.for_people:
                click.echo(f"\r{_now(last)}", nl=False, err=True)
    if session.for_people:
        click.echo(err=True)
    if last is not None and not session.as_json:
        session.table(("what", "value"), _rows(last.loudness))


def _from_stdin(rate_hz: int, channel_count: int) -> Iterator["MeterStreamRequest"]:
    from chorale.mastering.v1 import loudness_pb2

    yield _config(rate_hz, channel_count)
    while data := sys.stdin.buffer.read(_BLOCK_FRAMES * 4 * channel_count):
        yield loudness_pb2.MeterStreamRequest(frames=data)


def _played(chorale: "Chorale", audio: str, in_time: bool) -> Iterator["MeterStreamRequest"]:
    """The frames of audio that is stored, in the time that they take to play."""
    from chorale.mastering.v1 import loudness_pb2

    form = chorale.info(audio).format
    yield _config(form.sample_rate_hz, form.channel_count)
    started, sent = time.monotonic(), 0
    for frames in chorale.read_frames(audio):
        block_bytes = _BLOCK_FRAMES * 4 * frames.channel_count
        for start in range(0, len(frames.pcm), block_bytes):
            block = frames.pcm[start : start + block_bytes]
            sent += len(block) // (4 * frames.channel_count)
            if in_time:
                ahead = sent / frames.sample_rate_hz - (time.monotonic() - started)
                time.sleep(max(0.0, ahead))
            yield loudness_pb2.MeterStreamRequest(frames=block)


def _config(rate_hz: int, channel_count: int) -> "MeterStreamRequest":
    from chorale.mastering.v1 import loudness_pb2

    config = loudness_pb2.MeterConfig()
    config.format.sample_rate_hz, config.format.channel_count = rate_hz, channel_count
    return loudness_pb2.MeterStreamRequest(config=config)


def _now(answer: "MeterStreamResponse") -> str:
    """How loud it is now, as a bar and as figures, on one line."""
    share = (answer.momentary_lufs - _LOW_LUFS) / -_LOW_LUFS
    cells = round(_BAR_CELLS * min(1.0, max(0.0, share)))
    loudness = answer.loudness
    seconds = answer.span.frame_count / max(1, loudness.sample_rate_hz)
    return (
        f"{naming.clock(seconds):>7} {'█' * cells:░<{_BAR_CELLS}}"
        f" M {answer.momentary_lufs:6.1f}  S {answer.short_term_lufs:6.1f}"
        f"  I {loudness.integrated_lufs:6.1f} LUFS  TP {loudness.true_peak_dbtp:6.1f} dBTP "
    )


def _rows(loudness: "Loudness") -> list[tuple[str, str]]:
    return [(what, f"{getattr(loudness, name):.2f} {unit}".strip()) for what, name, unit in _ROWS]
