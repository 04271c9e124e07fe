"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable

from chorale_audio.pcm import mixed
from chorale_audio.source import Source

from chorale_fingerprint.codes import Codes, CodeWriter

# What every process imports before its first work: nothing, so that an idle service stays small.
# The first song pays the 0.3 s.
PRELOAD: tuple[str, ...] = ()


def write_codes(source: Source, *, progress: Callable[[str, float], None]) -> Codes:
    """Reads the source from object storage and writes its codes, in a process of the pool."""
    writer = CodeWriter(source.sample_rate_hz)
    read = 0
    for block in source.blocks():
        writer.push(mixed(block)[:, 0])
        read += len(block)
        progress("listening", read / source.frame_count)
    return writer.finish()
