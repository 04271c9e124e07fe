"""Names of audio as people write and read them."""

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chorale.ingest.v1.audio_pb2 import Audio

    from chorale_client.sync import Chorale

SHORT_DIGITS = 8
_WHOLE = re.compile(r"^[0-9a-f]{64}$")
_BEGINNING = re.compile(r"^[0-9a-f]{4,63}$")


def full(chorale: "Chorale", written: str) -> str:
    """The whole name of what somebody wrote: `audio/9f86d081…`, `9f86d081`, the whole digest."""
    digest = written.removeprefix("audio/").rstrip("….").lower()
    if _WHOLE.match(digest):
        return f"audio/{digest}"
    if not _BEGINNING.match(digest):
        raise click.UsageError(
            f"{written!r} is no name of audio: audio/ and at least 4 hexadecimal digits are needed."
        )
    found = [audio.name for audio in chorale.list() if audio.name.startswith(f"audio/{digest}")]
    if len(found) == 1:
        return found[0]
    from chorale_client.errors import NotFoundError

    if found:
        raise click.UsageError(f"{written!r} could be {', '.join(found[:5])}: write more of it.")
    raise NotFoundError(
        f"None of your audio begins with audio/{digest}. `chorale ls` lists what there is.",
        reason="AUDIO_NOT_FOUND",
        metadata={"audio": f"audio/{digest}"},
    )


def short(name: str, for_people: bool) -> str:
    """`audio/9f86d081…` for people; all of it for programs."""
    kind, _, digest = name.partition("/")
    if not for_people or len(digest) <= SHORT_DIGITS:
        return name
    return f"{kind}/{digest[:SHORT_DIGITS]}…"


def shape(audio: "Audio") -> str:
    """`stereo 44.1 kHz 3:07`."""
    count = audio.format.channel_count
    channels = {1: "mono", 2: "stereo"}.get(count, f"{count} channels")
    rate = f"{audio.format.sample_rate_hz / 1000:g} kHz"
    return f"{channels} {rate} {clock(audio.duration_seconds)}"


def clock(seconds: float) -> str:
    """`3:07`, `1:02:03`, `0:00.4` below a second."""
    if seconds < 1:
        return f"0:00.{int(seconds * 10)}"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count_bytes: int) -> str:
    """`3.4 MiB`."""
    value = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
