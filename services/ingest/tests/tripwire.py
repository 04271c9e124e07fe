"""A relay before a service's storage that ends the service at a step of its work."""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Step:
    """A request to the database or to object storage, counted from 1 since the wire was set."""

    number: int
    is_done: bool
    """Storage has done it when the service ends; else it never hears of it."""


class Tripwire:
    """Relays connections and counts the requests of all of them together.

    A request is what a client says before the server answers: one HTTP request, or one
    round trip of PostgreSQL's protocol.
    """

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._lock = threading.Lock()
        self._count = 0
        self._step: Step | None = None
        self._open = ExitStack()

    def __enter__(self) -> "Tripwire":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def before(self, endpoint: str) -> str:
        """Relay to `host:port`; returns where."""
        listener = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = urlsplit(f"//{endpoint}")
        threading.Thread(
            target=self._accept, args=(listener, (url.hostname, url.port)), daemon=True
        ).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def set(self, step: Step) -> None:
        """End the service at this step from now on."""
        with self._lock:
            self._count, self._step = 0, step

    def take_away(self) -> bool:
        """Let everything pass; whether the service came to the step."""
        with self._lock:
            step, self._step = self._step, None
        return step is None

    def _accept(self, listener: socket.socket, to: tuple[str | None, int | None]) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((to[0] or "", to[1] or 0))
                line = _Line(client, server, self)
                threading.Thread(target=line.forth, daemon=True).start()
                threading.Thread(target=line.back, daemon=True).start()

    def asked(self) -> Step | None:
        """Count a request; the step if it is the one."""
        with self._lock:
            self._count += 1
            return self._step if self._step and self._step.number == self._count else None

    def trip(self) -> None:
        """End the service, once: before its caller can hear of it, the wire is away."""
        if not self.take_away():
            self._kill()


class _Line:
    """One connection through the relay."""

    def __init__(self, client: socket.socket, server: socket.socket, wire: Tripwire) -> None:
        self._client, self._server, self._wire = client, server, wire
        self._is_answered = True
        self._ends: Step | None = None

    def forth(self) -> None:
        """Pass on what the service asks."""
        with suppress(OSError), self._client, self._server:
            try:
                self._ask()
            finally:  # closing alone tells nobody while the other thread still reads
                self._server.shutdown(socket.SHUT_RDWR)

    def _ask(self) -> None:
        while piece := self._client.recv(PIECE_BYTES):
            if self._is_answered:
                self._is_answered = False
                self._ends = self._wire.asked()
            if self._ends and not self._ends.is_done:
                self._wire.trip()
                return
            self._server.sendall(piece)

    def back(self) -> None:
        """Pass on what storage answers."""
        with suppress(OSError):
            while piece := self._server.recv(PIECE_BYTES):
                if self._ends:
                    self._wire.trip()
                    return
                self._is_answered = True
                self._client.sendall(piece)
            self._client.shutdown(socket.SHUT_WR)
