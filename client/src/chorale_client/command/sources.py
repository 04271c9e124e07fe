"""Sound as people name it: a file of theirs, or audio that is stored already."""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale_client.command import naming

if TYPE_CHECKING:
    from chorale_client.command.session import Session
    from chorale_client.sync import Chorale


def stored(session: "Session", chorale: "Chorale", written: str) -> str:
    """The name of the audio; a file is stored first."""
    if not Path(written).is_file():
        return naming.full(chorale, written)
    with session.progress(Path(written).name) as progress:
        return chorale.put(written, progress=progress).name
