"""U+0000 is refused wherever it stands in a request, and nothing else is."""

from typing import cast

import pytest
from chorale.ingest.v1 import audio_pb2, upload_pb2
from chorale_runtime.nul import nul_in
from chorale_runtime.refusals import RequestInvalid
from chorale_runtime.validation import RequestType
from google.protobuf import struct_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (audio_pb2.ListAudioRequest(text="a\0b"), "text"),
        (audio_pb2.ListAudioRequest(tags=["ok", "\0"]), "tags"),
        (
            upload_pb2.StartUploadRequest(details=upload_pb2.AudioDetails(title="\0")),
            "details.title",
        ),
        (struct_pb2.Struct(fields={"\0": struct_pb2.Value()}), "fields"),
        (
            struct_pb2.Struct(fields={"a": struct_pb2.Value(string_value="\0")}),
            "fields.string_value",
        ),
        (audio_pb2.ListAudioRequest(text="all is well"), ""),
        (upload_pb2.WriteUploadRequest(data=b"\0" * 100), ""),
    ],
)
def test_it_is_found_at_any_depth(message: Message, path: str) -> None:
    """In a field, a list, a message inside, a map's key and a map's value; never in bytes."""
    assert nul_in(message) == path


def test_it_is_refused_as_a_broken_rule() -> None:
    """The caller is told which field holds it."""
    request = audio_pb2.ListAudioRequest(text="a\0b")
    with pytest.raises(RequestInvalid) as refused:
        RequestType(cast(Descriptor, request.DESCRIPTOR)).read(request.SerializeToString())
    assert "text" in str(refused.value)
