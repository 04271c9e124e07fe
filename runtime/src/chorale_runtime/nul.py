"""Text that nothing can store: U+0000 is valid in a protobuf string and in no PostgreSQL text.

Refused in every request, wherever it stands, so that no service meets it in its database.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


def nul_in(message: Message) -> str:
    """The path of the first string that holds U+0000; empty when none does."""
    for field in _told_in_text(message.DESCRIPTOR):
        if not field.is_repeated and field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        for one in _each(field, value):
            if isinstance(one, str):
                if "\0" in one:
                    return field.name
            elif found := nul_in(one):
                return f"{field.name}.{found}"
    return ""


def _each(field: FieldDescriptor, value: object) -> Iterable[str | Message]:
    if not field.is_repeated:
        return (value,)  # type: ignore[return-value]  # what such a field holds
    if isinstance(value, dict) or hasattr(value, "items"):
        return (one for pair in value.items() for one in pair if isinstance(one, str | Message))
    return value  # type: ignore[return-value]


@cache
def _told_in_text(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields that are strings or may hold some: never bytes, which would be copied."""
    text = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    return tuple(field for field in descriptor.fields if field.type in text)
