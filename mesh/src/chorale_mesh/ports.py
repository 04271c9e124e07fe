"""Ports on loopback that nobody uses yet."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

from chorale_mesh.errors import MeshError

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the near end of outgoing connections (32768 on
# Linux), with room for a twin at +TWIN_OFFSET.
_FIRST_PORT, _LAST_PORT = 11000, 22500
TWIN_OFFSET = 10_000
_ATTEMPTS_MAX = 1000


class NoFreePortError(MeshError):
    """No port could be found free on loopback."""

    def __init__(self, first_port: int, last_port: int) -> None:
        super().__init__(first_port, last_port)
        self.first_port, self.last_port = first_port, last_port

    def __str__(self) -> str:
        return (
            f"No free port was found on {LOOPBACK} between {self.first_port} and {self.last_port}."
        )


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """One free port."""
    return next(_free(twins=False))


def free_twin_ports(count: int) -> list[int]:
    """Different free ports whose twins at +TWIN_OFFSET are free too."""
    found: list[int] = []
    for port in _free(twins=True):
        if port not in found:
            found.append(port)
        if len(found) == count:
            break
    return found


def _free(*, twins: bool) -> Iterator[int]:
    chooser = random.SystemRandom()
    for _ in range(_ATTEMPTS_MAX):
        port = chooser.randint(_FIRST_PORT, _LAST_PORT)
        if is_free(port) and (not twins or is_free(port + TWIN_OFFSET)):
            yield port
    raise NoFreePortError(_FIRST_PORT, _LAST_PORT)
