"""A service in a process of its own, for tests of how processes start and end.

python song_server.py            serves `songs`
CHORALE_SLOW_SECONDS=5 ...       its calls take that long
CHORALE_BUILD=fail|wait          its building fails, or never ends
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from chorale_runtime.app import App
from chorale_runtime.server import serve
from chorale_runtime.settings import ServerSettings, setting
from songs import Songs, app


@dataclass(frozen=True)
class Settings(ServerSettings):
    """What tests set."""

    slow_seconds: float = setting(0.0, help="How long calls take.", unit="seconds")
    build: str = setting("", help="What building does.", choices=("", "fail", "wait"))


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[App]:
    """Builds at once, never, or fails."""
    if settings.build == "fail":
        raise RuntimeError("cannot reach postgresql://user:swordfish@db/x")
    if settings.build == "wait":
        await asyncio.sleep(3600)

    async def slow(*_: Any) -> None:
        await asyncio.sleep(settings.slow_seconds)

    yield app(Songs(before=slow, after=slow))


if __name__ == "__main__":
    serve(Settings, build)
