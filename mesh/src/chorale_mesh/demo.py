"""x."""

from pathlib import Path

from rich.console import Console


async def run(page: Path, seed: int, state: Path | None, console: Console, as_json: bool) -> None:
    """X."""
