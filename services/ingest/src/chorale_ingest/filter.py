"""What a list of audio is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Filter:
    """Which audio to list."""

    tags: tuple[str, ...] = ()
    text: str = ""
    parent: str = ""
    kept: bool = False
