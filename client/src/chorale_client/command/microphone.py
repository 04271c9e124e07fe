"""The sound of a microphone, by a program that this machine has for it."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

import click

_LAST_SECONDS = 2.0  # that a program may take to end

# Who writes float32 frames to its standard output, the likeliest first: ALSA, PulseAudio, SoX.
_RECORDERS = (
    ("arecord", "-q -t raw -f FLOAT_LE -r {rate} -c {channels}"),
    ("parec", "--raw --format=float32le --rate={rate} --channels={channels}"),
    ("rec", "-q -t raw -e floating-point -b 32 -r {rate} -c {channels} -"),
)


class Frames(Protocol):
    """Where bytes of frames come from."""

    def read(self, size: int, /) -> bytes: ...


class RecorderMissing(click.ClickException):
    """Nothing here can hear a microphone."""

    exit_code = 7

    def __init__(self) -> None:
        names = ", ".join(name for name, _ in _RECORDERS)
        super().__init__(
            f"No program here records sound ({names}). Install one, such as alsa-utils, name a"
            " file, or pipe float32 frames into `chorale live -`."
        )


class RecorderFailed(click.ClickException):
    """The program that records ended before anything was heard."""

    exit_code = 7

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} ended with status {status} before it recorded anything.")


class _Heard:
    """What a program writes, and how much of it came."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self.byte_count = pipe, 0

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end."""
        data = self._pipe.read(size)
        self.byte_count += len(data)
        return data


@contextmanager
def recording(rate_hz: int, channel_count: int) -> Iterator[Frames]:
    """The frames of the microphone as they come, until Ctrl-C or the end of the block."""
    found = ((shutil.which(name), options) for name, options in _RECORDERS)
    program, options = next(((path, more) for path, more in found if path), ("", ""))
    if not program:
        raise RecorderMissing
    words = options.format(rate=rate_hz, channels=channel_count).split()
    # In a session of its own: Ctrl-C is ours, and what was recorded by then is heard to its end.
    process = subprocess.Popen(  # noqa: S603 - a program of three, by its full path
        [program, *words], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    heard = _Heard(process.stdout)
    try:
        with ended_by_ctrl_c(process.terminate):
            yield heard
        if not heard.byte_count:
            raise RecorderFailed(program, process.wait(_LAST_SECONDS))
    finally:
        process.terminate()
        process.wait(_LAST_SECONDS)
        process.stdout.close()


@contextmanager
def ended_by_ctrl_c(end: Callable[[], object]) -> Iterator[None]:
    """The first Ctrl-C within the block ends what is listened to; the next one everything."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread alone
        return

    def ended(_: int, __: Any) -> None:
        signal.signal(signal.SIGINT, before)
        end()

    before = signal.signal(signal.SIGINT, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
