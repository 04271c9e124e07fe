"""Rooms on disk for files on their way."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def room(directory: str) -> AsyncIterator[str]:
    """Lends a directory that is gone afterwards, whatever happened in it."""
    made = await asyncio.to_thread(
        tempfile.mkdtemp, prefix="chorale-generation-", dir=directory or None
    )
    try:
        yield made
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, made, ignore_errors=True))
