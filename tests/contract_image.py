"""The contract as its compiled image tells it: messages, RPCs, and the comments beside them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from buf.validate import validate_pb2  # noqa: F401  registers the rules, so that options parse
from google.api import annotations_pb2  # noqa: F401
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos"
IMAGE = PROTOS / "gen" / "chorale.binpb"
OPERATION = ".google.longrunning.Operation"


@dataclass(frozen=True)
class Rpc:
    """One RPC, with its service's package and the comment above it."""

    package: str
    service: str
    method: MethodDescriptorProto
    comment: str

    @property
    def name(self) -> str:
        """Such as `chorale.analysis.v1.AnalysisService/TrackBeats`."""
        return f"{self.package}.{self.service}/{self.method.name}"

    @property
    def area(self) -> str:
        """Such as `analysis`."""
        return self.package.split(".")[1]

    @property
    def is_operation(self) -> bool:
        return self.method.output_type == OPERATION

    @property
    def answer(self) -> str:
        """The full name of what it answers in the end: an operation's response, unwrapped."""
        if not self.is_operation:
            return self.method.output_type
        info = self.method.options.Extensions[operations_pb2.operation_info]
        named: str = info.response_type
        return f".{named}" if "." in named else f".{self.package}.{named}"


@cache
def files() -> tuple[FileDescriptorProto, ...]:
    """Every file of the image: Chorale's own and what they import."""
    return tuple(FileDescriptorSet.FromString(IMAGE.read_bytes()).file)


def own_files() -> tuple[FileDescriptorProto, ...]:
    return tuple(file for file in files() if file.package.startswith("chorale."))


@cache
def messages() -> dict[str, DescriptorProto]:
    """Full name with a leading dot -> message, nested ones included."""
    found: dict[str, DescriptorProto] = {}

    def add(prefix: str, message: DescriptorProto) -> None:
        name = f"{prefix}.{message.name}"
        found[name] = message
        for nested in message.nested_type:
            add(name, nested)

    for file in files():
        for message in file.message_type:
            add(f".{file.package}", message)
    return found


@cache
def rpcs() -> tuple[Rpc, ...]:
    """Every RPC of Chorale's own services."""
    return tuple(
        Rpc(file.package, service.name, method, comments(file).get((6, s, 2, m), ""))
        for file in own_files()
        for s, service in enumerate(file.service)
        for m, method in enumerate(service.method)
    )


def comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Path in the file -> the comment above what stands there."""
    return {
        tuple(location.path): location.leading_comments
        for location in file.source_code_info.location
        if location.leading_comments
    }


@cache
def reasons() -> dict[str, str]:
    """Reason -> the comment that explains it, `UNSPECIFIED` left out."""
    file = next(file for file in own_files() if file.name.endswith("/error_reason.proto"))
    told = comments(file)
    return {
        value.name.removeprefix("ERROR_REASON_"): told.get((5, 0, 2, index), "")
        for index, value in enumerate(file.enum_type[0].value)
        if value.number
    }


def request_fields() -> Iterator[tuple[str, FieldDescriptorProto]]:
    """Every field a caller can fill, as (message and field name, field), each message once."""
    seen: set[str] = set()
    waiting = [rpc.method.input_type for rpc in rpcs()]
    while waiting:
        name = waiting.pop()
        if name in seen or not name.startswith(".chorale."):
            continue
        if messages()[name].options.map_entry:  # bounded where the map is declared
            continue
        seen.add(name)
        for field in messages()[name].field:
            yield f"{name[1:]}.{field.name}", field
            if field.type == FieldDescriptorProto.TYPE_MESSAGE:
                waiting.append(field.type_name)


def claims(comment: str) -> list[tuple[str, str]]:
    """The (code, reason) pairs of a comment's `Errors:` list."""
    return re.findall(r"\* `([A-Z_]+)` \(`([A-Z_]+)`\):", re.sub(r"\s+", " ", comment))
