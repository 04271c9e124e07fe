"""`chorale monitor`."""

import sys
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import naming, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.fingerprint.v1.listening_pb2 import MonitorSettings, MonitorStreamRequest
    from chorale.fingerprint.v1.recordings_pb2 import Match

    from chorale_client.sync import Chorale

_COLUMNS = ("from", "to", "recording", "title", "artist", "score", "speed")
_BLOCK_FRAMES = 16384


@subcommand("monitor")
@click.argument("sound", metavar="FILE|AUDIO|-")
@click.option("--window", default=25.0, show_default=True, type=click.FloatRange(2.0, 120.0))
@click.option("--own", is_flag=True, help="Only among your own recordings.")
@click.option("--rate", default=44100, show_default=True, type=click.IntRange(8000, 192000))
@click.option("--channels", default=2, show_default=True, type=click.IntRange(1, 8))
def command(
    session: Session, sound: str, window: float, own: bool, rate: int, channels: int
) -> None:
    """Say what plays in long sound, and when.

    `-` reads endless sound from the standard input: float samples, as `ffmpeg -i URL -f f32le -`
    writes them, at --rate and with --channels. Each stretch is told when it is over.
    """
    from chorale.fingerprint.v1 import listening_pb2

    settings = listening_pb2.MonitorSettings(
        window_seconds=window, overlap_seconds=window / 5, own_only=own
    )
    with session.chorale() as chorale:
        if sound == "-":
            _watch(session, chorale, settings, rate, channels)
        else:
            _listen(session, chorale, sound, settings)


def _listen(session: Session, chorale: "Chorale", sound: str, settings: "MonitorSettings") -> None:
    from chorale.fingerprint.v1 import listening_pb2

    audio = sources.stored(session, chorale, sound)
    request = listening_pb2.MonitorRequest(
        audio=audio, settings=settings, request_id=str(uuid.uuid4())
    )
    response = listening_pb2.MonitorResponse
    answer = chorale.start(chorale.fingerprint.Monitor, request, response).result()
    if session.as_json:
        session.say(answer)
        return
    rate_hz = chorale.info(audio).format.sample_rate_hz
    if answer.matches:
        session.table(_COLUMNS, [_row(match, rate_hz) for match in answer.matches])
    elif session.for_people:
        click.echo("Nothing that is enrolled is in it.")


def _watch(
    session: Session, chorale: "Chorale", settings: "MonitorSettings", rate: int, channels: int
) -> None:
    calls: Any = chorale.fingerprint.MonitorStream(_spoken(settings, rate, channels))
    for answer in calls:
        if not answer.is_final:
            continue
        if session.as_json:
            session.say(answer)
        else:
            for match in answer.matches:
                session.say(match, *_row(match, rate))


def _spoken(
    settings: "MonitorSettings", rate: int, channels: int
) -> Iterator["MonitorStreamRequest"]:
    """The config, and then whole frames of what comes on the standard input."""
    from chorale.audio.v1 import audio_pb2
    from chorale.fingerprint.v1 import listening_pb2

    sound = audio_pb2.PcmFormat(sample_rate_hz=rate, channel_count=channels)
    config = listening_pb2.MonitorStreamConfig(format=sound, settings=settings)
    yield listening_pb2.MonitorStreamRequest(config=config)
    frame_bytes = 4 * channels
    while block := sys.stdin.buffer.read(_BLOCK_FRAMES * frame_bytes):
        # What is cut off in the middle of its last frame ends before it.
        yield listening_pb2.MonitorStreamRequest(
            frames=block[: len(block) // frame_bytes * frame_bytes]
        )


def _row(match: "Match", rate_hz: int) -> tuple[str, ...]:
    start = match.query_span.start_frame
    return (
        naming.clock(start / rate_hz),
        naming.clock((start + match.query_span.frame_count) / rate_hz),
        match.recording.name,
        match.recording.title,
        match.recording.artist,
        f"{match.score:.2f}",
        f"{match.speed_ratio:.3f}",
    )
