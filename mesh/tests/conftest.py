"""Fixtures of the tests of the mesh on one machine."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until something holds; fails when it does not within the time."""

    def wait(holds: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {timeout_seconds} seconds"
            time.sleep(0.05)

    return wait


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on loopback that another program listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]
