"""Writes the contract's image to standard output, with the details that errors carry.

The contract itself never names google.rpc.ErrorInfo: it travels as an Any inside statuses.
Needs the Python environment of the repository (`make setup`).
"""

import sys
from pathlib import Path

import chorale
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2

image_path = Path(next(iter(chorale.__path__))).parent / "chorale.binpb"
image = descriptor_pb2.FileDescriptorSet.FromString(image_path.read_bytes())
descriptor = error_details_pb2.DESCRIPTOR
if descriptor.name not in {file.name for file in image.file}:
    descriptor.CopyToProto(image.file.add())
sys.stdout.buffer.write(image.SerializeToString())
