"""Answers that are mostly one `bytes` field."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from typing_extensions import Buffer

_LENGTH_DELIMITED = 2


class Spliced:
    """A message and the content of its `bytes` field, which is copied once, into what is sent.

    By way of the message it would be copied three times: into a `bytes`, into the message and
    out of it. Fields may follow in any order on the wire, so it is written after all others.
    """

    def __init__(self, message: Message, field: str, content: Buffer) -> None:
        self._message, self._content = message, memoryview(content).cast("B")
        self._number = message.DESCRIPTOR.fields_by_name[field].number

    def SerializeToString(self) -> bytes:
        """The message with its field."""
        tag = _varint(self._number << 3 | _LENGTH_DELIMITED)
        head = self._message.SerializeToString() + tag + _varint(len(self._content))
        return b"".join((head, self._content))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
