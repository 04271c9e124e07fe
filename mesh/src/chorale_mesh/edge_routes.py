"""Which call goes to which service: routes made from the contract's descriptors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import chorale
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2

IMAGE_NAME = "chorale.binpb"
# Every service of the mesh serves these for itself, so their names alone do not tell whose.
SHARED_SERVICES = ("google.longrunning.Operations", "chorale.operations.v1.OperationsService")
# Not transcoded, but passed on as gRPC.
PASSED_SERVICES = ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")

_VARIABLE = re.compile(r"\{[a-z_.]+(?:=([^}]*))?\}")


@dataclass(frozen=True)
class RestRoute:
    """One binding of one call to an HTTP method and path."""

    service: str
    """The short name of the service that answers."""
    verb: str
    path: str
    """The template, such as `/v1/{name=audio/*}:keep`."""
    may_retry: bool
    """Whether the edge may send it again: reading calls with one answer."""

    @property
    def path_regex(self) -> str:
        """A regular expression that the whole path matches, without its query."""
        pieces = _VARIABLE.split(self.path)
        literal, patterns = pieces[::2], pieces[1::2]
        regex = re.escape(literal[0])
        for pattern, after in zip(patterns, literal[1:], strict=True):
            regex += _segments(pattern or "*") + re.escape(after)
        return regex


def load_image() -> descriptor_pb2.FileDescriptorSet:
    """The contract as descriptors, with the details that errors carry beside their codes."""
    path = Path(next(iter(chorale.__path__))).parent / IMAGE_NAME
    image = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    for file in image.file:
        file.ClearField("source_code_info")
    present = {file.name for file in image.file}
    for descriptor in _with_dependencies(error_details_pb2.DESCRIPTOR):
        if descriptor.name not in present:
            present.add(descriptor.name)
            descriptor.CopyToProto(image.file.add())
    return image


def give_operations_to_services(
    image: descriptor_pb2.FileDescriptorSet, services: Sequence[str]
) -> None:
    """Binds the calls on operations once for each service, as `/v1/<service>/operations/...`."""
    for name, method in _methods(image):
        if name in SHARED_SERVICES:
            rule = method.options.Extensions[annotations_pb2.http]
            verb, path = _binding(rule)
            if not path:  # WaitOperation, which the annotations of google.longrunning leave out
                verb, path = "post", "/v1/{name=operations/**}:wait"
            body = "*" if verb == "post" else ""
            rule.Clear()
            for number, service in enumerate(services):
                binding = rule if number == 0 else rule.additional_bindings.add()
                own_path = path.replace("/v1/", f"/v1/{service}/").replace("**", "*")
                setattr(binding, verb, own_path)
                binding.body = body


def rest_routes(
    image: descriptor_pb2.FileDescriptorSet, services: Sequence[str]
) -> Iterator[RestRoute]:
    """Every binding of the given services, and of the operations of each."""
    for name, method in _methods(image):
        rule = method.options.Extensions[annotations_pb2.http]
        for binding in (rule, *rule.additional_bindings):
            verb, path = _binding(binding)
            owner = _owner(name, path)
            if verb and owner in services:
                is_stream = method.client_streaming or method.server_streaming
                yield RestRoute(owner, verb.upper(), path, verb == "get" and not is_stream)


def grpc_services(
    image: descriptor_pb2.FileDescriptorSet, services: Sequence[str]
) -> list[tuple[str, str]]:
    """Full gRPC names that belong to one service alone, each with that service."""
    names = {name: _owner(name, "") for name, _ in _methods(image)}
    return [(name, owner) for name, owner in names.items() if owner in services]


def _owner(full_name: str, path: str) -> str:
    """`chorale.ingest.v1.IngestService` is ingest's; a shared one is whose path it stands in."""
    if full_name in SHARED_SERVICES:
        return path.split("/")[2] if path else ""
    parts = full_name.split(".")
    return parts[1] if parts[0] == "chorale" else ""


def _methods(
    image: descriptor_pb2.FileDescriptorSet,
) -> Iterator[tuple[str, descriptor_pb2.MethodDescriptorProto]]:
    for file in image.file:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}", method


def _binding(rule: http_pb2.HttpRule) -> tuple[str, str]:
    verb = rule.WhichOneof("pattern")
    return (verb, getattr(rule, verb)) if verb else ("", "")


def _segments(pattern: str) -> str:
    """`audio/*` matches one segment after the word; `**` any number of them."""
    return "".join(
        {"**": ".+", "*": "[^/:]+"}.get(piece, re.escape(piece))
        for piece in re.split(r"(\*\*|\*)", pattern)
    )


def _with_dependencies(descriptor: FileDescriptor) -> Iterator[FileDescriptor]:
    for dependency in descriptor.dependencies:
        yield from _with_dependencies(dependency)
    yield descriptor
