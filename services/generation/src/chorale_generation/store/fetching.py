"""Objects as files on this machine."""

from pathlib import Path

from chorale_runtime.objects import Objects


async def download(objects: Objects, key: str, path: Path) -> None:
    """Writes an object to a file."""
    with path.open("wb") as file:
        async for data in objects.read(key):
            file.write(data)
