"""`chorale live`."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import microphone, naming, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.analysis.v1.live_pb2 import StreamAnalysisRequest, StreamAnalysisResponse

    from chorale_client.sync import Chorale

_BLOCK_SECONDS = 0.05
_LOW_LUFS, _BAR_CELLS, _CHORDS_SHOWN = -40.0, 12, 6
_FLASH_SECONDS = 0.15  # for so long after a beat its dot is filled


@subcommand("live")
@click.argument("sound", metavar="[FILE|AUDIO|-]", default="")
@click.option("--fast", is_flag=True, help="As fast as can be, not as it plays.")
@click.option("--bpm", default=0.0, help="The tempo to expect, in beats per minute.")
@click.option("--vocabulary", default="", help="Chord labels to choose from, such as majmin.")
@click.option("--rate", default=44100, show_default=True, type=click.IntRange(8000, 192000))
@click.option("--channels", default=2, show_default=True, type=click.IntRange(1, 8))
def command(
    session: Session,
    sound: str,
    fast: bool,
    bpm: float,
    vocabulary: str,
    rate: int,
    channels: int,
) -> None:
    """Hear beats, chords, key and loudness while a sound plays. A file is stored first.

    Without a name it hears the microphone, by arecord, parec or rec. `-` hears float32 frames from
    the standard input. Both at --rate and with --channels. Ctrl-C ends the sound, and what was
    heard is told. On a terminal one line follows the music; elsewhere every chord is a line once it
    is sure. Every answer is a line with --json.

    \b
    chorale live
    chorale live song.wav
    ffmpeg -i URL -f f32le -ar 44100 -ac 2 - | chorale live - --json
    """
    from chorale.analysis.v1 import live_pb2

    config = live_pb2.StreamAnalysisConfig()
    config.beats.bpm_hint, config.chords.vocabulary = bpm, vocabulary
    config.format.sample_rate_hz, config.format.channel_count = rate, channels
    with session.chorale() as chorale, ExitStack() as opened:
        if sound and sound != "-":
            audio = sources.stored(session, chorale, sound)
            form = chorale.info(audio).format
            config.format.sample_rate_hz = form.sample_rate_hz
            config.format.channel_count = form.channel_count
            is_over = threading.Event()
            opened.enter_context(microphone.ended_by_ctrl_c(is_over.set))
            requests = _played(chorale, audio, config, not fast, is_over)
        elif sound or not sys.stdin.isatty():
            opened.enter_context(microphone.ended_by_ctrl_c(_wait_for_the_end))
            requests = _recorded(config, sys.stdin.buffer)
        else:
            frames = opened.enter_context(microphone.recording(rate, channels))
            requests = _recorded(config, frames)
        _follow(session, chorale.analysis.StreamAnalysis(requests), config.format.sample_rate_hz)


def _wait_for_the_end() -> None:
    """Who writes to our standard input had the same Ctrl-C, and ends it."""


def _follow(session: Session, answers: Any, rate_hz: int) -> None:
    last: Any = None
    told = 0  # up to which frame chords were told
    for last in answers:
        if session.as_json:
            session.say(last)
        elif session.for_people and not last.HasField("timeline"):
            if not last.is_final:
                click.echo(f"\r\033[K{_now(last, rate_hz)}", nl=False, err=True)
        elif last.is_final:
            for chord in last.timeline.chords.chords or last.chords:
                if chord.start_frame >= told and not session.for_people:
                    session.say(chord, naming.clock(chord.start_seconds), chord.label)
            told = last.span.start_frame + last.span.frame_count
    if session.for_people:
        click.echo(err=True)
    if last is not None and not session.as_json:
        _tell(session, last)


def _tell(session: Session, last: "StreamAnalysisResponse") -> None:
    line = last.timeline
    loudness = f"{line.dynamics.integrated_lufs:.1f} LUFS"
    session.table(
        ("what", "found", "how sure"),
        [
            ("tempo", f"{line.beats.bpm:.1f} BPM" if line.beats.bpm else "none",
             f"{line.beats.bpm_confidence:.2f}"),
            ("key", line.key.key or "none", f"{line.key.confidence:.2f}"),
            ("loudness", loudness, ""),
        ],
    )  # fmt: skip
    rows = [(naming.clock(c.start_seconds), c.label, f"{c.confidence:.2f}")
            for c in line.chords.chords]  # fmt: skip
    if session.for_people:
        session.table(("at", "chord", "how sure"), rows)


def _now(answer: "StreamAnalysisResponse", rate_hz: int) -> str:
    """What is heard now, on one line."""
    end = answer.span.start_frame + answer.span.frame_count
    near = end - _FLASH_SECONDS * rate_hz
    dot = "●" if any(beat.frame >= near for beat in answer.beats) else "○"
    tempo = f"{answer.bpm:5.1f} BPM" if answer.bpm else "  no beat"
    share = (answer.momentary_lufs - _LOW_LUFS) / -_LOW_LUFS
    cells = round(_BAR_CELLS * min(1.0, max(0.0, share)))
    chords = " ".join(chord.label for chord in answer.chords[-_CHORDS_SHOWN:])
    return (
        f"{naming.clock(end / rate_hz):>7} {dot} {tempo}  {answer.key.key or 'no key':8}"
        f" {'█' * cells:░<{_BAR_CELLS}} {answer.momentary_lufs:6.1f} LUFS  {chords}"
    )


def _recorded(config: Any, frames: microphone.Frames) -> Iterator["StreamAnalysisRequest"]:
    """The config, and then whole frames as they come."""
    from chorale.analysis.v1 import live_pb2

    yield live_pb2.StreamAnalysisRequest(config=config)
    frame_bytes = 4 * config.format.channel_count
    block_bytes = round(_BLOCK_SECONDS * config.format.sample_rate_hz) * frame_bytes
    while block := frames.read(block_bytes):
        # What is cut off in the middle of its last frame ends before it.
        whole = len(block) // frame_bytes * frame_bytes
        yield live_pb2.StreamAnalysisRequest(frames=block[:whole])


def _played(
    chorale: "Chorale", audio: str, config: Any, in_time: bool, is_over: threading.Event
) -> Iterator["StreamAnalysisRequest"]:
    """The frames of audio that is stored, in the time that they take to play, until it is over."""
    from chorale.analysis.v1 import live_pb2

    yield live_pb2.StreamAnalysisRequest(config=config)
    started, sent = time.monotonic(), 0
    for frames in chorale.read_frames(audio):
        frame_bytes = 4 * frames.channel_count
        block_bytes = round(_BLOCK_SECONDS * frames.sample_rate_hz) * frame_bytes
        for start in range(0, len(frames.pcm), block_bytes):
            if is_over.is_set():
                return
            block = frames.pcm[start : start + block_bytes]
            sent += len(block) // frame_bytes
            if in_time:
                ahead = sent / frames.sample_rate_hz - (time.monotonic() - started)
                time.sleep(max(0.0, ahead))
            yield live_pb2.StreamAnalysisRequest(frames=block)
