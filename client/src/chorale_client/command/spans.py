"""Stretches of audio as people write them."""

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chorale.audio.v1.audio_pb2 import FrameSpan
    from chorale.ingest.v1.audio_pb2 import Audio

_CLOCK = re.compile(r"^(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)$")


def seconds(written: str) -> float:
    """`90`, `1:30`, `0:01:30.25` in seconds."""
    found = _CLOCK.match(written.strip())
    if found is None:
        raise click.UsageError(f"{written!r} is no time: 90, 1:30 or 0:01:30.25 are.")
    hours, minutes, rest = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)


def span(audio: "Audio", start: str, end: str) -> "FrameSpan":
    """The frames from one time to another; no end is the end of the audio."""
    from chorale.audio.v1.audio_pb2 import FrameSpan

    rate = audio.format.sample_rate_hz
    first = round(seconds(start) * rate)
    if not end:
        return FrameSpan(start_frame=first)
    last = round(seconds(end) * rate)
    if last <= first:
        raise click.UsageError(f"The end, {end}, must come after the start, {start}.")
    return FrameSpan(start_frame=first, frame_count=last - first)
