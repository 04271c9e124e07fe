"""Compiles the contract, `chorale/**/*.proto`, into `gen/`: Python modules, stubs, an image.

No third-party `.proto` is kept in the repository. What the contract imports is
taken, as descriptors, out of the wheels that are installed: google.* from
googleapis-common-protos and protobuf, buf.validate from protovalidate.

    python protos/compile_protos.py            # compile into protos/gen
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from google.api import annotations_pb2, field_behavior_pb2, httpbody_pb2
from google.longrunning import operations_pb2
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

# What the contract may import. Their own imports come along.
IMPORTABLE = (
    annotations_pb2,
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    error_details_pb2,
    field_behavior_pb2,
    field_mask_pb2,
    httpbody_pb2,
    operations_pb2,
    status_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

# Lies in the image, beside the modules: what `buf lint`, `buf breaking` and the edge read.
IMAGE_NAME = "chorale.binpb"


def compile_protos(root: Path) -> Path:
    """Compiles every proto under `root`/chorale into `root`/gen, which it replaces."""
    gen = root / "gen.new"  # swapped in at the end: a running program never sees half of it
    shutil.rmtree(gen, ignore_errors=True)
    gen.mkdir()
    imports = gen / "imports.binpb"
    imports.write_bytes(_imported_descriptors().SerializeToString())
    sources = sorted(str(path.relative_to(root)) for path in (root / "chorale").rglob("*.proto"))
    common = [f"--descriptor_set_in={imports}", f"--proto_path={root}"]
    _protoc(
        *common,
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={gen / IMAGE_NAME}",
        *sources,
    )
    _protoc(
        *common,
        f"--python_out={gen}",
        f"--pyi_out={gen}",
        f"--grpc_python_out={gen}",
        *sources,
        "buf/validate/validate.proto",
    )
    imports.unlink()
    for package in ("chorale", "buf"):  # typed, for mypy; namespace packages have no __init__
        (gen / package / "py.typed").touch()
    return _swap(gen, root / "gen")


def _swap(new: Path, current: Path) -> Path:
    old = current.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if current.exists():
        current.rename(old)
    new.rename(current)
    shutil.rmtree(old, ignore_errors=True)
    return current


def _imported_descriptors() -> descriptor_pb2.FileDescriptorSet:
    """The descriptors of everything importable, each after what it depends on."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for module in IMPORTABLE:
        for descriptor in _with_dependencies(module.DESCRIPTOR):
            if descriptor.name not in files:
                files[descriptor.name] = descriptor_pb2.FileDescriptorProto()
                descriptor.CopyToProto(files[descriptor.name])
    validate = descriptor_pb2.FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())
    files[validate.name] = validate
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def _with_dependencies(descriptor: FileDescriptor) -> Iterable[FileDescriptor]:
    for dependency in descriptor.dependencies:
        yield from _with_dependencies(dependency)
    yield descriptor


def _protoc(*arguments: str) -> None:
    status = protoc.main(["protoc", *arguments])
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}; its messages are above.")


if __name__ == "__main__":
    print(compile_protos(Path(__file__).parent))
