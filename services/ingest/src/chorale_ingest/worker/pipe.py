"""How the service and a confined decoder speak, over one socket that is all the decoder has.

The decoder asks for bytes of the file by position and tells what it made of them:

    decoder -> service   kind (1 byte), length (4 bytes), payload
    service -> decoder   length (4 bytes), payload: the answer to one READ; BROKEN: none comes

Nothing the decoder says is trusted further than that it is of that form and size.
"""

import io
import os
import struct
from collections import OrderedDict
from enum import Enum

HEADER = struct.Struct("<cI")
ANSWER = struct.Struct("<I")
REQUEST = struct.Struct("<QI")
BROKEN = 0xFFFFFFFF

BLOCK_BYTES = 1 << 20
BLOCKS_KEPT = 4  # a demuxer jumps between a table and the sound: keep both at hand
PAYLOAD_BYTES_MAX = 4 << 20  # 65,536 frames of 8 float channels are 2 MiB


class Kind(Enum):
    """What a message of the decoder is."""

    READ = b"R"
    PCM = b"P"
    POINTS = b"O"
    BODY = b"B"
    """The next bytes of an encoded file, from `encoding.HEAD_BYTES` on."""
    HEAD = b"H"
    """The bytes before those; the encoder's last message."""
    RESULT = b"D"
    REFUSAL = b"E"


class SourceBroken(Exception):
    """The service cannot give the bytes that were asked for; says nothing of the file."""


class Line:
    """The decoder's end: blocking, on a bare descriptor, since sockets' own calls are denied."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, kind: Kind, payload: bytes) -> None:
        """Send one message."""
        self._write(HEADER.pack(kind.value, len(payload)))
        self._write(payload)

    def ask(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Fetch bytes of the file; fewer come only at its end."""
        self.tell(Kind.READ, REQUEST.pack(offset_bytes, length_bytes))
        (length,) = ANSWER.unpack(self._read(ANSWER.size))
        if length == BROKEN:
            raise SourceBroken
        return self._read(length)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = os.read(self._descriptor, length - len(parts))
            if not part:
                raise SourceBroken
            parts += part
        return bytes(parts)


class RemoteFile(io.RawIOBase):
    """The uploaded file, as a demuxer wants it: readable anywhere, fetched block by block."""

    def __init__(self, line: Line, size_bytes: int) -> None:
        super().__init__()
        self._line = line
        self._size_bytes = size_bytes
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.broken = False

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; before the beginning is refused, past the end reads nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise OSError(22, "before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes: fewer at the end of a block, none at the end of the file."""
        number, start = divmod(self._position, BLOCK_BYTES)
        if self._position >= self._size_bytes:
            return b""
        block = self._block(number)
        data = block[start:] if size < 0 else block[start : start + size]
        self._position += len(data)
        return data

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            try:
                block = self._line.ask(number * BLOCK_BYTES, BLOCK_BYTES)
            except (SourceBroken, OSError):
                self.broken = True
                raise
            if len(self._blocks) >= BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        else:
            del self._blocks[number]
        self._blocks[number] = block
        return block
