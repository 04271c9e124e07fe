"""Python objects over a socket, large buffers uncopied.

A message is a count of buffers, their sizes, and the buffers: first the pickle, then
what it refers to out of band (an array's memory, say), which goes out from where it
lies and comes in to where it stays.
"""

import pickle
import socket
import struct
from typing import Any

COUNT = struct.Struct("<I")


class ConnectionEnded(Exception):
    """The other side closed the socket."""


def pack(message: object) -> list[memoryview]:
    """Make the pieces to send, in order."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    pieces = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    sizes = struct.pack(f"<{len(pieces)}Q", *(len(piece) for piece in pieces))
    return [memoryview(COUNT.pack(len(pieces)) + sizes), *pieces]


def unpack(buffers: list[bytearray]) -> Any:
    """Rebuild the message from its pieces."""
    # Both sides are this program: nothing from outside is ever unpickled.
    return pickle.loads(buffers[0], buffers=buffers[1:])  # noqa: S301


def send(connection: socket.socket, message: object) -> None:
    """Send from a process that may block."""
    for piece in pack(message):
        connection.sendall(piece)


def sizes_of(count: int, raw: bytes | bytearray) -> tuple[int, ...]:
    """Read the sizes of so many buffers."""
    return struct.unpack(f"<{count}Q", raw)


def receive(connection: socket.socket) -> Any:
    """Receive in a process that may block."""
    (count,) = COUNT.unpack(_receive_exactly(connection, COUNT.size))
    sizes = sizes_of(count, _receive_exactly(connection, 8 * count))
    return unpack([_receive_exactly(connection, size) for size in sizes])


def _receive_exactly(connection: socket.socket, size_bytes: int) -> bytearray:
    buffer = bytearray(size_bytes)
    rest = memoryview(buffer)
    while len(rest) > 0:
        count = connection.recv_into(rest)
        if count == 0:
            raise ConnectionEnded
        rest = rest[count:]
    return buffer
