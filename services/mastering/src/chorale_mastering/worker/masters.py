"""Masters, made in a process of the pool: sound comes from object storage, files go to disk."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chorale_audio.source import Source

if TYPE_CHECKING:
    from chorale_mastering.orders import Order, Outcome

Progress = Callable[[str, float], None]

# What is told of the whole; the rest is what keeping the files takes.
MADE_SHARE = 0.95


def make_masters(
    source: Source,
    orders: "Sequence[Order]",
    directory: str,
    compare: bool,
    *,
    progress: Progress,
) -> "tuple[Outcome, ...]":
    """Reads the source once per order, masters it, and leaves the files in `directory`."""
    from chorale_mastering.making import made_files

    progress("reading", 0.0)
    return made_files(source.blocks, orders, directory, compare, _made(progress))


def _made(progress: Progress) -> Progress:
    return lambda stage, share: progress(stage, share * MADE_SHARE)
