"""What the supervisor starts: each part is a process that is ready, has ended, or is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from chorale_mesh.children import Child, end_leftover
from chorale_mesh.errors import PartFailedError
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres

T = TypeVar("T")


class Part(Protocol):
    """One supervised process of the mesh."""

    name: str

    @property
    def address(self) -> str:
        """Where it answers."""

    @property
    def log(self) -> Path:
        """What it says."""

    @property
    def child(self) -> Child | None:
        """Its process; None before it was started and after it was stopped."""

    async def start(self) -> None:
        """Starts it, after ending what is left of its last life; returns when it is ready."""

    async def stop(self) -> None:
        """Stops it in order."""

    def abandon(self) -> None:
        """Ends it at once."""


class EmbeddedPart:
    """PostgreSQL or S3, whose own classes block, as a part."""

    def __init__(self, name: str, server: EmbeddedPostgres | EmbeddedObjects) -> None:
        self.name = name
        self._server = server

    @property
    def address(self) -> str:
        """Where it answers."""
        return self._server.endpoint

    @property
    def log(self) -> Path:
        """What it says."""
        return self._server.log

    @property
    def child(self) -> Child | None:
        """Its process."""
        return self._server.child

    async def start(self) -> None:
        """Starts it, or starts it again after a crash."""
        self._server.kill()
        try:
            await _in_thread(self._server.start)
        except OSError as error:
            found = f"could not be started: {error.strerror or error}"
            raise PartFailedError(self.name, found, self.log, "") from error

    async def stop(self) -> None:
        """Stops it in order: everything is written."""
        await _in_thread(self._server.stop)

    def abandon(self) -> None:
        """Ends it at once; the next start recovers."""
        self._server.kill()


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def end_leftovers(state: Path) -> list[str]:
    """Ends what a mesh that was killed left running in a state directory; says whom.

    PostgreSQL and S3 end their own leftovers when they start, each in its gentle way.
    """
    ended = []
    for record in sorted(state.glob("*/*.pid")):
        if record.stem not in ("postgres", "objects"):
            pid = end_leftover(record, signal.SIGTERM, grace_seconds=1.0)
            if pid is not None:
                ended.append(f"{record.stem} (process {pid})")
    return ended


async def _in_thread(function: Callable[[], T]) -> T:
    """Runs what blocks; a cancelled caller waits for its end, so that nothing starts unseen."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()
        raise
