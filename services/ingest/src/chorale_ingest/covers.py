"""The cover art that a file carries. Runs only inside the confined child process.

A picture is copied out as it is and never decoded here; what does not begin as a JPEG or
PNG does, or is larger than a cover needs to be, is none.
"""

from av.error import FFmpegError
from av.stream import Disposition

from chorale_ingest import sniffing
from chorale_ingest.decoded import Undecodable
from chorale_ingest.decoding import SeekableFile, opened
from chorale_ingest.forms import COVER_TYPES

COVER_BYTES_MAX = 4 << 20


def cover(file: SeekableFile) -> bytes:
    """The first picture attached to a file; empty if there is none."""
    try:
        container = opened(file, "")
        pictures = [
            stream
            for stream in container.streams.video
            if stream.disposition & Disposition.attached_pic
        ]
        # Attached pictures come before anything else is read.
        packet = next(container.demux(pictures[0]), None) if pictures else None
    except (FFmpegError, Undecodable):
        return b""
    found = bytes(packet) if packet is not None and packet.size <= COVER_BYTES_MAX else b""
    return found if sniffing.media_type(found[: sniffing.HEAD_BYTES]) in COVER_TYPES else b""
