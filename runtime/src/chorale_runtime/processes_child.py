"""The inside of a worker process: runs one function after another until its parent is gone."""

import ctypes
import faulthandler
import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from chorale_runtime import processes_wire as wire

PR_SET_PDEATHSIG = 1
PROGRESS_SECONDS = 0.01


def main(arguments: Sequence[str]) -> None:
    """Serve the socket whose descriptor, and the parent whose pid, the command line names."""
    descriptor, parent_pid = map(int, arguments[1:3])
    _live_no_longer_than(parent_pid)
    _leave_signals_to_the_parent()
    faulthandler.enable()
    connection = socket.socket(fileno=descriptor)
    connection.setblocking(True)
    with suppress(wire.ConnectionEnded, ConnectionError):
        unfit = _preload(wire.receive(connection))
        while True:
            _serve_one(connection, unfit)


def _preload(names: Sequence[str]) -> Exception | None:
    """Import `names`; what fails is the answer to every run, since no run can do without."""
    try:
        for name in names:
            importlib.import_module(name)
    except Exception as error:
        return error
    return None


def _serve_one(connection: socket.socket, unfit: Exception | None) -> None:
    answer: tuple[str, Any]
    try:
        function, arguments, wants_progress = wire.receive(connection)
        if unfit is not None:
            raise unfit
        if wants_progress:
            progress = _Progress(connection)
            answer = ("result", function(*arguments, progress=progress))
            progress.flush()
        else:
            answer = ("result", function(*arguments))
    except wire.ConnectionEnded:
        raise
    except BaseException as error:  # whatever it is, the caller is told
        answer = _failure(error)
    try:
        pieces = wire.pack(answer)
    except Exception as error:  # what cannot be pickled cannot be told
        pieces = wire.pack(_failure(error))
    for piece in pieces:
        connection.sendall(piece)


class _Progress:
    """What a function calls to tell how far it is, as often as it likes.

    Of what is told faster than a hundred times a second only the latest of each
    stage (the first argument) is sent, so that a tight loop costs nobody anything.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held: tuple[Any, ...] | None = None
        self._sent_at = 0.0

    def __call__(self, *told: Any) -> None:
        if self._held is not None and self._held[:1] != told[:1]:
            self.flush()
        self._held = told
        if time.monotonic() - self._sent_at >= PROGRESS_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        if self._held is not None:
            wire.send(self._connection, ("progress", self._held))
            self._held, self._sent_at = None, time.monotonic()


def _failure(error: BaseException) -> tuple[str, Any]:
    """Tell an exception by type and arguments, if the other side can rebuild it from those."""
    text = "".join(traceback.format_exception(error))
    told: tuple[Any, ...] = (type(error), error.args)
    try:
        type(error)(*error.args)
        wire.pack(told)
    except Exception:  # then by name and text
        told = (None, (f"{type(error).__module__}.{type(error).__qualname__}", str(error)))
    return ("error", (*told, text))


def _live_no_longer_than(parent_pid: int) -> None:
    """Die with the parent, even from the middle of a long computation, even after its kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before we asked
            os._exit(1)
        return

    def watch() -> None:
        # Where the kernel will not tell us, look whether we were adopted.
        while os.getppid() == parent_pid:
            threading.Event().wait(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _leave_signals_to_the_parent() -> None:
    """Ignore Ctrl-C and the polite end, which reach the whole group while the parent drains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


if __name__ == "__main__":
    main(sys.argv)
