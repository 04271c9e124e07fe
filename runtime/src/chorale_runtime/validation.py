"""The shape of requests: every message is held to the rules of its contract.

The rules are written once, in the protos (protovalidate), and enforced once, here. A message
that carries sound costs no more to check than one that does not: see `_without_payload`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buf.validate import validate_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from protovalidate import CompilationError, EvaluationError, Validator

from chorale_runtime.refusals import FieldViolation, RequestInvalid

if TYPE_CHECKING:
    from protovalidate import Violation

# protovalidate copies a message whole before it looks at it: 3 us for a small one, 44 us for
# 1 MiB. From here on, looking at the message without its payload is cheaper.
_LARGE_BYTES = 64 * 1024
_TIMES = frozenset({"google.protobuf.Duration", "google.protobuf.Timestamp"})

_log = logging.getLogger(__name__)
_validator = Validator()


class RequestType:
    """Reads and checks the requests of one method."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._name = descriptor.full_name
        self._parse = message_factory.GetMessageClass(descriptor).FromString
        self._payloads = _payload_limits(descriptor)
        self._holds_times = _holds_times(descriptor, set())

    def read(self, raw: bytes) -> Message:
        """Parses and validates a request, or raises `RequestInvalid`."""
        try:
            message: Message = self._parse(raw)
        except DecodeError:
            raise RequestInvalid(
                (FieldViolation("", "wire_format", f"the bytes are not a {self._name}."),)
            ) from None
        if self._holds_times:
            unreal = tuple(_unreal_times(message))
            if unreal:
                raise RequestInvalid(unreal)
        if len(raw) >= _LARGE_BYTES and self._payloads:
            head = _without_payload(raw, self._payloads)
            if head is not None and not self._broken(self._parse(head)):
                return message
        broken = self._broken(message)
        if broken:
            raise RequestInvalid(tuple(_said(violation) for violation in broken))
        return message

    def _broken(self, message: Message) -> Sequence[Violation]:
        try:
            return _validator.collect_violations(message)
        except EvaluationError as error:
            # A rule that cannot be worked out (a sum that overflows, say) has not been kept.
            _log.warning("rule_not_evaluated", extra={"message_type": self._name}, exc_info=error)
            raise RequestInvalid(
                (FieldViolation("", "rule_not_evaluated", "a rule cannot be evaluated on it."),)
            ) from error


def compiles(descriptor: Descriptor) -> str:
    """Says what is wrong with the rules of a message; empty when they are in order."""
    try:
        _validator.collect_violations(message_factory.GetMessageClass(descriptor)())
    except CompilationError as error:
        return str(error)
    except EvaluationError:
        return ""
    return ""


def _holds_times(descriptor: Descriptor, seen: set[str]) -> bool:
    if descriptor.full_name in _TIMES:
        return True
    if descriptor.full_name in seen:
        return False
    seen.add(descriptor.full_name)
    return any(
        _holds_times(each.message_type, seen) for each in descriptor.fields if each.message_type
    )


def _unreal_times(message: Message, path: str = "") -> Iterator[FieldViolation]:
    """Finds durations and times that are none: protovalidate takes `-1 s and 2147483647 ns`."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            if each.DESCRIPTOR.full_name not in _TIMES:
                yield from _unreal_times(each, f"{path}{field.name}.")
                continue
            try:
                each.ToJsonString()
            except ValueError as error:
                yield FieldViolation(path + field.name, "well_formed_time", f"is no time: {error}")


def _payload_limits(descriptor: Descriptor) -> Mapping[int, int]:
    """Finds the bytes fields whose only rule is `max_len`: field number -> that length.

    Only these may be left out of a check: emptying them can break no other rule, as no rule
    of the message itself (CEL, oneof) may be there to look at them.
    """
    options = descriptor.GetOptions()
    if options.Extensions[validate_pb2.message].ByteSize():  # type: ignore[index]
        return {}
    limits = {}
    for field in descriptor.fields:
        if field.type != FieldDescriptor.TYPE_BYTES or field.is_repeated:
            continue
        rules = field.GetOptions().Extensions[validate_pb2.field]
        longest = rules.bytes.max_len
        if longest and rules == validate_pb2.FieldRules(
            bytes=validate_pb2.BytesRules(max_len=longest)
        ):
            limits[field.number] = longest
    return limits


def _without_payload(raw: bytes, limits: Mapping[int, int]) -> bytes | None:
    """Copies a serialised message with its payload fields emptied, not dropped.

    Returns None where a payload is over its limit or the bytes are unusual (groups): then
    the whole message goes the long way. The bytes have been parsed before, so they are a
    well-formed message.
    """
    parts = []
    kept_from = at = 0
    end = len(raw)
    while at < end:
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(raw, at)
        elif wire == 1:
            at += 8
        elif wire == 5:
            at += 4
        elif wire == 2:
            after_tag = at
            size, at = _varint(raw, at)
            longest = limits.get(tag >> 3)
            if longest is not None:
                if size > longest:
                    return None
                parts.append(raw[kept_from:after_tag])
                parts.append(b"\0")
                kept_from = at + size
            at += size
        else:
            return None
    parts.append(raw[kept_from:])
    return b"".join(parts)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    byte = raw[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7


def _said(violation: Violation) -> FieldViolation:
    told = violation.proto
    elements = told.field.elements if told.field is not None else ()
    return FieldViolation("".join(_steps(elements)), told.rule_id, told.message)


def _steps(elements: Sequence[Any]) -> Iterator[str]:
    for position, element in enumerate(elements):
        yield f"{'.' if position else ''}{element.field_name}"
        subscript = element.subscript
        if subscript is not None:
            yield (
                f"[{subscript.value!r}]"
                if isinstance(subscript.value, str)
                else (f"[{subscript.value}]")
            )
