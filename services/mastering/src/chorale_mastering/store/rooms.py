"""Rooms on disk for files on their way to ingest."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Rooms:
    """Lends directories that are gone afterwards, whatever happened in them."""

    def __init__(self, directory: str) -> None:
        self._directory = directory or None

    @asynccontextmanager
    async def one(self) -> AsyncIterator[str]:
        """Lends one."""
        room = await asyncio.to_thread(
            tempfile.mkdtemp, prefix="chorale-mastering-", dir=self._directory
        )
        try:
            yield room
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, room, ignore_errors=True))
