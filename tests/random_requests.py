"""Random requests for any RPC, drawn from its descriptor: some valid, some broken on purpose.

Values lean towards what the rules of the contract ask for (patterns, bounds, enums), because
noise alone never gets past validation; the rest is noise, extremes and leftovers. A request is
a function of its seed, so a failure is repeated by its seed.
"""

import random
import re
import string
import struct
import uuid
from collections.abc import Sequence
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

DEPTH_MAX = 4
BITS = {
    FieldDescriptor.CPPTYPE_INT32: 31,
    FieldDescriptor.CPPTYPE_INT64: 63,
    FieldDescriptor.CPPTYPE_UINT32: 32,
    FieldDescriptor.CPPTYPE_UINT64: 64,
}
# The rules of a number stand under the name of its declared type.
RULE_NAMES = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FIXED32: "fixed32",
    FieldDescriptor.TYPE_FIXED64: "fixed64",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "float",
}
WILD_FLOATS = (0.0, -0.0, 1e38, -1e38, 1e-38, float("nan"), float("inf"), float("-inf"))
WILD_TEXTS = ("", " ", "\0", "../../etc/passwd", "'; DROP TABLE audio; --", "%s%n", "𝄞" * 9, "a\nb")


class RequestMaker:
    """Makes requests of any type; `known` are names that exist, used where a pattern fits."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known = known

    def make(self, descriptor: Descriptor, seed: int) -> Message:
        """One request: in half of all seeds each field tries to be valid."""
        draw = random.Random(seed)
        return self._message(descriptor, draw, wild=0.0 if draw.random() < 0.5 else 0.3, depth=0)

    def _message(
        self, descriptor: Descriptor, draw: random.Random, wild: float, depth: int
    ) -> Message:
        message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            rules: validate_pb2.FieldRules = field.GetOptions().Extensions[
                validate_pb2.field  # type: ignore[index]  # stubs name it a descriptor
            ]
            if draw.random() < (0.98 if _zero_breaks(field, rules) else 0.35):
                self._set(message, field, rules, draw, wild, depth)
        return message

    def _set(
        self,
        message: Message,
        field: FieldDescriptor,
        rules: validate_pb2.FieldRules,
        draw: random.Random,
        wild: float,
        depth: int,
    ) -> None:
        kind = field.message_type
        if kind is not None and (depth >= DEPTH_MAX or kind.GetOptions().map_entry):
            return
        if field.is_repeated:
            items = rules.repeated.items if rules.repeated.HasField("items") else rules
            count = draw.randint(rules.repeated.min_items, rules.repeated.min_items + 2)
            for _ in range(count):
                value = self._value(field, items, draw, wild, depth)
                getattr(message, field.name).append(value)
        elif kind is not None:
            value = self._message(kind, draw, wild, depth + 1)
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, self._value(field, rules, draw, wild, depth))

    def _value(
        self,
        field: FieldDescriptor,
        rules: validate_pb2.FieldRules,
        draw: random.Random,
        wild: float,
        depth: int,
    ) -> Any:
        broken = draw.random() < wild
        if field.message_type is not None:
            return self._message(field.message_type, draw, wild, depth + 1)
        if field.enum_type is not None:
            numbers = [value.number for value in field.enum_type.values]
            return draw.randint(-2, 2**31 - 1) if broken else draw.choice(numbers[1:] or numbers)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return draw.random() < 0.5
        if field.type == FieldDescriptor.TYPE_BYTES:
            return draw.randbytes(draw.choice((0, 1, 100, 4096)))
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return self._text(rules, draw, broken)
        return _number(field, getattr(rules, RULE_NAMES[field.type]), draw, broken)

    def _text(self, rules: validate_pb2.FieldRules, draw: random.Random, broken: bool) -> str:
        if broken:
            too_long = "x" * (rules.string.max_len + 1)
            return draw.choice((*WILD_TEXTS, too_long))
        if rules.string.uuid:
            return str(uuid.UUID(int=draw.getrandbits(128), version=4))
        if rules.string.pattern:
            fitting = [name for name in self._known if re.search(rules.string.pattern, name)]
            if fitting and draw.random() < 0.7:
                return draw.choice(fitting)
            return _matching(re._parser.parse(rules.string.pattern), draw)  # type: ignore[attr-defined]
        length = max(rules.string.min_len, min(draw.randint(0, 20), rules.string.max_len or 20))
        return "".join(draw.choices(string.ascii_letters + " ", k=length))


def _zero_breaks(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> bool:
    """Whether leaving the field out breaks its rules."""
    if field.type in RULE_NAMES and not field.is_repeated:
        number = getattr(rules, RULE_NAMES[field.type])
        return bool(number.gt or number.gte > 0 or number.lte < 0)
    texts = rules.string.min_len or rules.string.uuid or rules.string.pattern
    return bool(rules.required or texts or rules.repeated.min_items or rules.enum.not_in)


def _number(field: FieldDescriptor, rules: Any, draw: random.Random, broken: bool) -> float:
    least = rules.gte if rules.HasField("gte") else rules.gt if rules.HasField("gt") else None
    most = rules.lte if rules.HasField("lte") else rules.lt if rules.HasField("lt") else None
    if field.cpp_type in BITS:
        bits = BITS[field.cpp_type]
        signed = bits in (31, 63)
        if broken:
            return draw.choice((-(2**bits) if signed else 0, -1 if signed else 0, 2**bits - 1))
        low = 0 if least is None else least
        high = 2**bits - 1 if most is None else most
        return draw.choice((low, high, draw.randint(low, min(high, low + 1000))))
    value = draw.choice(WILD_FLOATS) if broken else draw.uniform(least or 0.0, most or 1.0)
    return float(struct.unpack("f", struct.pack("f", value))[0])  # fits both widths


def _matching(pattern: Any, draw: random.Random) -> str:
    """A text that a parsed pattern matches: the few constructs that the contract uses."""
    text = ""
    for operation, argument in pattern:
        name = str(operation)
        if name == "LITERAL":
            text += chr(argument)
        elif name == "IN":
            text += _member(argument, draw)
        elif name == "ANY":
            text += draw.choice(string.printable)
        elif name == "SUBPATTERN":
            text += _matching(argument[3], draw)
        elif name == "BRANCH":
            text += _matching(draw.choice(argument[1]), draw)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            for _ in range(draw.randint(least, min(int(most), least + 8))):
                text += _matching(inner, draw)
    return text


def _member(choices: Any, draw: random.Random) -> str:
    operation, argument = draw.choice(choices)
    if str(operation) == "RANGE":
        return chr(draw.randint(*argument))
    if str(operation) == "LITERAL":
        return chr(argument)
    return draw.choice(string.ascii_lowercase)
