"""The process from which decoders are born: `python -m chorale_ingest.worker.nursery DESCRIPTOR`.

It has imported the decoder once, opens nothing, and forks one child per file, so that a
decoding costs milliseconds to begin and starts from a process that never saw an
uploader's bytes. Children are confined before their first read. Each is on a leash: a
socket whose closing by the service kills the child, and on which its exit is told.
"""

import contextlib
import dataclasses
import io
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any, NoReturn

import av.logging

from chorale_ingest import covers, decoding, encoding, forms, metering
from chorale_ingest.decoded import AudioTooLong, Undecodable
from chorale_ingest.forms import FORMS, Order
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.worker import pipe
from chorale_ingest.worker.confinement import (
    Confinement,
    Limits,
    confine,
    leave_network,
    seccomp_available,
)

COMMAND_BYTES_MAX = 4096
EXIT_BROKEN_SOURCE = 3
EXIT_OUT_OF_MEMORY = 4


def main() -> None:
    """Serve until the service is gone."""
    commands = socket.socket(fileno=int(sys.argv[1]))
    av.logging.set_level(None)
    _warm_up()
    facts = Confinement(seccomp=seccomp_available(), network_namespace=leave_network())
    with contextlib.suppress(BrokenPipeError):  # the service went away meanwhile
        commands.send(json.dumps(dataclasses.asdict(facts)).encode())
        Nursery(commands).serve()


def _warm_up() -> None:
    """Decode and encode eight frames: what is imported late is imported before the fork."""
    head = b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0"
    first, second = socket.socketpair()
    with first, second:
        wave = head + b"data\x10\0\0\0" + bytes(16)
        first.sendall(pipe.ANSWER.pack(len(wave)) + wave)
        _decode(pipe.Line(second.fileno()), len(wave), 1.0)
    for form in FORMS.values():
        if form.codec:
            layout, depth = Layout(Encoding.F32LE, 1), 16 if form.codec == "flac" else 32
            order = Order(form.codec, form.container, 48000, layout, depth, True, form.bit_rate_bps)
            encoding.encode(io.BytesIO(bytes(32)), order, lambda _: None)
    meter = Order("", "", 48000, Layout(Encoding.F32LE, 1), 32, False, 0)
    metering.measure(io.BytesIO(bytes(32)), meter)


class Nursery:
    """Forks on command, tells exits, kills what is let go of."""

    def __init__(self, commands: socket.socket) -> None:
        self._commands = commands
        self._leashes: dict[int, socket.socket] = {}
        self._wake, wake = socket.socketpair()
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle
        self._wake_other = wake
        self._selector = selectors.DefaultSelector()
        self._selector.register(commands, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Loop until the service closes its end."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._commands:
                    if not self._command():
                        return
                elif key.fileobj is self._wake:
                    self._wake.recv(1024)
                    self._reap()
                else:
                    self._let_go(key.data)

    def _command(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._commands, COMMAND_BYTES_MAX, 2)
        if not message:
            for pid in self._leashes:
                os.kill(pid, signal.SIGKILL)
            return False
        line, leash = descriptors
        pid = os.fork()
        if pid == 0:
            _live(line, json.loads(message))
        os.close(line)
        self._leashes[pid] = socket.socket(fileno=leash)
        self._selector.register(self._leashes[pid], selectors.EVENT_READ, pid)
        return True

    def _let_go(self, pid: int) -> None:
        leash = self._leashes.get(pid)
        if leash is None:  # it ended by itself in the same moment, and is reaped
            return
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still this child's
        self._selector.unregister(leash)

    def _reap(self) -> None:
        while self._leashes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            leash = self._leashes.pop(pid)
            if leash in self._selector.get_map():
                self._selector.unregister(leash)
            with leash:
                try:
                    leash.send(str(os.waitstatus_to_exitcode(status)).encode())
                except OSError:
                    continue  # the service let go of it: nobody asks


def _live(line: int, order: dict[str, Any]) -> NoReturn:
    """Be the child: keep one descriptor, lock in, decode, exit."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        empty = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(empty, standard)
        kept = os.dup2(line, 3) if line != 3 else 3
        os.closerange(4, 65536)
        os.nice(5)  # the event loop that feeds us goes first
        limits = Limits(
            int(order["cpu_seconds"]), int(order["memory_bytes"]), order["duration_seconds"]
        )
        confine(limits)
        size_bytes, encode = int(order["size_bytes"]), order["encode"]
        if encode is not None:
            _encode(pipe.Line(kept), size_bytes, encode)
        else:
            _decode(pipe.Line(kept), size_bytes, limits.duration_seconds)
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)
    except (pipe.SourceBroken, OSError):
        os._exit(EXIT_BROKEN_SOURCE)
    finally:
        os._exit(0)


def _decode(line: pipe.Line, size_bytes: int, limit_seconds: float) -> None:
    file = pipe.RemoteFile(line, size_bytes)
    try:
        work = decoding.Decoding(file, limit_seconds)
        for block in work.blocks():
            line.tell(pipe.Kind.PCM, block.pcm)
            line.tell(pipe.Kind.POINTS, block.points)
        result = dataclasses.asdict(work.result())
    except (Undecodable, AudioTooLong) as error:
        if file.broken:  # a demuxer takes a failed read for a broken file
            raise pipe.SourceBroken from error
        refusal = {"type": type(error).__name__, "fields": vars(error)}
        line.tell(pipe.Kind.REFUSAL, json.dumps(refusal).encode())
        return
    if file.broken:
        raise pipe.SourceBroken
    line.tell(pipe.Kind.RESULT, json.dumps(result).encode())


def _encode(line: pipe.Line, size_bytes: int, told: dict[str, Any]) -> None:
    layout = Layout(Encoding(told.pop("encoding")), told.pop("channel_count"))
    file, order = pipe.RemoteFile(line, size_bytes), Order(layout=layout, **told)
    if order.container == forms.COVER.container:
        head = covers.cover(file)
        if file.broken:  # a demuxer takes a failed read for a broken file
            raise pipe.SourceBroken
    elif order.container:
        head = encoding.encode(file, order, lambda data: line.tell(pipe.Kind.BODY, data))
    else:  # nothing is written: it is measured
        head = metering.measure(file, order)
    line.tell(pipe.Kind.HEAD, head)


if __name__ == "__main__":
    main()
