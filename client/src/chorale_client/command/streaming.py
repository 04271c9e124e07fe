"""Sound written while it is made, for `chorale generate`."""

import struct
import time
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from chorale_client.errors import ChoraleError
from chorale_client.failures import is_passing

if TYPE_CHECKING:
    from chorale.generation.v1.tracks_pb2 import StreamGenerationResponse

    from chorale_client.sync import Chorale

_SAMPLE_BYTES, _FLOAT = 4, 3
_TRIES, _WAIT_SECONDS = 10, 1.0  # after a break without a frame in between
_SIZE_MAX = 0xFFFF_FFFF


def listen(chorale: "Chorale", operation: str, out: str) -> None:
    """Writes what an operation makes as a WAV file of floats, as it comes; `-`: standard output."""
    from chorale.generation.v1.tracks_pb2 import StreamGenerationRequest

    frame = tries = 0
    with click.open_file(out, "wb") as opened:
        file = cast("BinaryIO", opened)
        while True:
            request = StreamGenerationRequest(operation=operation, start_frame=frame)
            try:
                for message in chorale.generation.StreamGeneration(request):
                    if message.HasField("format") and not frame:
                        file.write(_header(message))
                    file.write(message.frames)
                    file.flush()
                    frame += message.span.frame_count
                    tries = 0 if message.frames else tries
                    if message.is_final:
                        return
            except ChoraleError as error:
                tries += 1
                if not is_passing(error) or tries == _TRIES:
                    raise
            time.sleep(_WAIT_SECONDS)


def _header(message: "StreamGenerationResponse") -> bytes:
    """What stands before the frames; of more than 4 GiB players are told to read on."""
    channels, rate_hz = message.format.channel_count, message.format.sample_rate_hz
    frame_bytes = _SAMPLE_BYTES * channels
    size = min(message.total_frame_count * frame_bytes, _SIZE_MAX - 36)
    form = struct.pack(
        "<HHIIHH",
        _FLOAT,
        channels,
        rate_hz,
        rate_hz * frame_bytes,
        frame_bytes,
        8 * _SAMPLE_BYTES,
    )
    return b"".join(
        (
            struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(form)) + form,
            struct.pack("<4sI", b"data", size),
        )
    )
