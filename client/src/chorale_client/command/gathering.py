"""Which files `chorale put` was asked for: files, folders, patterns, and what comes later."""

import glob
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

# In a folder only these are taken; a file that is named itself is taken whatever it is called.
_SOUND = "wav wave bwf rf64 w64 aif aiff aifc flac mp3 m4a mp4 aac ogg oga opus wma webm mka caf au"
SUFFIXES = frozenset(f".{kind}" for kind in _SOUND.split())
LOOK_SECONDS = 1.0


def files(written: Sequence[str]) -> list[str]:
    """The files, each once, in order: `-` is stdin, folders are searched to the bottom."""
    found: dict[str, None] = {}
    for each in written:
        if each == "-" or Path(each).is_file():
            found[each] = None
            continue
        paths = [Path(each)] if Path(each).is_dir() else [Path(p) for p in sorted(_matches(each))]
        if not paths:
            raise click.UsageError(f"There is no file, folder or match of {each!r}.")
        for path in paths:
            found |= dict.fromkeys(_inside(path) if path.is_dir() else [str(path)])
    return list(found)


def later(folders: Sequence[str], known: Sequence[str]) -> Iterator[list[str]]:
    """For ever: files that came into the folders, once they have stopped growing."""
    done, seen = set(known), dict[str, tuple[int, int]]()
    while True:
        time.sleep(LOOK_SECONDS)
        now = {}
        for file in (file for folder in folders for file in _inside(Path(folder))):
            if file not in done:
                state = Path(file).stat()
                now[file] = (state.st_size, state.st_mtime_ns)
        ready = [file for file, state in now.items() if state[0] and seen.get(file) == state]
        seen = now
        done.update(ready)
        if ready:
            yield ready


def _inside(folder: Path) -> list[str]:
    return sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _matches(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)
