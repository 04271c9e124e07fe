"""Serving: what every service's `__main__` calls, and how the process ends.

exit 0      stopped by SIGTERM or SIGINT, drained
exit 1      failed while building or serving
exit 2      the settings are refused
exit 3      the address is taken, or must not be bound
exit 130    a second signal: left at once, calls and all
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from chorale_runtime import logs, memory, settings
from chorale_runtime.app import Build, S
from chorale_runtime.lifecycle import RunningServer, bound, running, service_name
from chorale_runtime.listening import AddressRefused

__all__ = ["RunningServer", "running", "serve"]

EXIT_FAILED, EXIT_SETTINGS, EXIT_ADDRESS, EXIT_AT_ONCE = 1, 2, 3, 130

_USAGE = """usage: python -m {package} [--settings] [--help]

Serves {name}. Everything is set by environment variables; --settings lists them.
"""

_log = logging.getLogger(__name__)


def serve(
    kind: type[S],
    build: Build[S],
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Reads settings, serves the app until told to stop, and exits the process."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--settings"]:
        print(settings.table(kind))  # noqa: T201 - what was asked for
        sys.exit(0)
    if given:
        package = kind.__module__.partition(".")[0]
        print(_USAGE.format(package=package, name=package))  # noqa: T201
        sys.exit(0 if given in (["--help"], ["-h"]) else EXIT_SETTINGS)
    sys.exit(_run(kind, build, os.environ if environ is None else environ))


def _run(kind: type[S], build: Build[S], environ: Mapping[str, str]) -> int:
    try:
        loaded = settings.load(kind, environ)
    except settings.SettingsRefused as refused:
        return _give_up(str(refused), EXIT_SETTINGS)
    logs.setup(service_name(loaded), loaded.log_level)
    memory.keep_at_hand()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_until_stopped(loaded, build))
    except AddressRefused as refused:
        return _give_up(str(refused), EXIT_ADDRESS)
    except settings.SettingsRefused as refused:
        return _give_up(str(refused), EXIT_SETTINGS)
    except Exception as error:
        _log.exception("failed")
        return _give_up(f"{type(error).__name__}: {logs.redacted(str(error))}", EXIT_FAILED)


async def _until_stopped(loaded: S, build: Build[S]) -> int:
    task = asyncio.current_task()
    assert task is not None  # a runner runs a task
    signals = _Signals(task.cancel)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.arrived, number)
    try:
        async with bound(loaded) as server, server.built(loaded, build):
            stop = asyncio.Event()
            signals.first = stop.set
            await stop.wait()
    except asyncio.CancelledError:
        if not signals.asked:
            raise
        _log.info("stopped_while_starting")
    _log.info("stopped")
    logs.flush()
    return 0


class _Signals:
    """The first signal asks, the second insists."""

    def __init__(self, first: Callable[[], object]) -> None:
        self.first, self.asked = first, False

    def arrived(self, number: int) -> None:
        """Takes a signal."""
        if self.asked:
            logs.flush()
            os._exit(EXIT_AT_ONCE)
        self.asked = True
        _log.info("stopping", extra={"signal": signal.Signals(number).name})
        self.first()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: asyncio's own loop serves too
        return None
    return uvloop.new_event_loop


def _give_up(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - for a person at a terminal
    return code
