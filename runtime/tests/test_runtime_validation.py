"""Validation: the short way around large payloads finds exactly what the long way finds."""

import random
from typing import Any

import pytest
from chorale.analysis.v1 import analysis_service_pb2
from chorale.fingerprint.v1 import fingerprint_service_pb2
from chorale.generation.v1 import generation_service_pb2
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2, reading_pb2, upload_pb2
from chorale.mastering.v1 import loudness_pb2, mastering_service_pb2
from chorale_runtime import validation
from chorale_runtime.refusals import RequestInvalid
from chorale_runtime.validation import RequestType
from hypothesis import given, settings
from hypothesis import strategies as st

SERVICES = [
    analysis_service_pb2.DESCRIPTOR.services_by_name["AnalysisService"],
    fingerprint_service_pb2.DESCRIPTOR.services_by_name["FingerprintService"],
    generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"],
    ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
    mastering_service_pb2.DESCRIPTOR.services_by_name["MasteringService"],
]


def reading_of(message: Any) -> RequestType:
    """What reads and checks messages of this type."""
    return RequestType(message.DESCRIPTOR)


WRITE = reading_of(upload_pb2.WriteUploadRequest)
METER = reading_of(loudness_pb2.MeterStreamRequest)
UPLOAD = "uploads/5d0c0000-0000-4000-8000-000000000000"
LARGE = 512 * 1024


def found(reading: RequestType, raw: bytes) -> list[tuple[str, str]]:
    """Which fields break which rules."""
    try:
        reading.read(raw)
    except RequestInvalid as invalid:
        return [(violation.field, violation.rule) for violation in invalid._violations]
    return []


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_rules_of_every_request_compile(service: Any) -> None:
    """A rule that protovalidate cannot build would make every call of its RPC fail."""
    broken = {
        method.input_type.full_name: problem
        for method in service.methods
        if (problem := validation.compiles(method.input_type))
    }
    assert not broken


def test_payload_fields_are_found_by_their_rules() -> None:
    """Only bytes fields whose one rule is a maximum may be left out of a check."""
    assert dict(WRITE._payloads) == {3: 1 << 20}
    assert dict(METER._payloads) == {2: 1 << 20}
    assert not reading_of(reading_pb2.ReadBytesRequest)._payloads


@settings(deadline=None, max_examples=60)
@given(
    upload=st.sampled_from([UPLOAD, "", "../x", "uploads/ü"]),
    offset=st.integers(-(2**63), 2**63 - 1),
    size=st.sampled_from([0, 1, LARGE, 1 << 20, (1 << 20) + 1]),
    crc32c=st.none() | st.integers(0, 2**32 - 1),
    unknown=st.booleans(),
)
def test_the_short_way_finds_what_the_long_way_finds(
    upload: str, offset: int, size: int, crc32c: int | None, unknown: bool
) -> None:
    """The same violations with and without looking past the payload."""
    message = upload_pb2.WriteUploadRequest(
        upload=upload, offset_bytes=offset, data=b"\0" * size, crc32c=crc32c
    )
    raw = message.SerializeToString()
    if unknown:  # a field of a newer contract, before and behind the payload
        raw = b"\xa2\x06\x03abc" + raw + b"\xa1\x06" + b"\0" * 8
    long_way = reading_of(upload_pb2.WriteUploadRequest)
    long_way._payloads = {}
    assert found(WRITE, raw) == found(long_way, raw)


def test_a_required_oneof_is_kept_by_a_large_payload() -> None:
    """Leaving the payload out of the check must not look like leaving it out of the message."""
    raw = loudness_pb2.MeterStreamRequest(frames=b"\0" * LARGE).SerializeToString()
    assert found(METER, raw) == []
    assert found(METER, b"") == [("message", "required")]


def test_a_payload_told_twice_is_bounded_twice() -> None:
    """On the wire the last of two counts; neither may be over the limit."""
    small = upload_pb2.WriteUploadRequest(upload=UPLOAD, data=b"\0" * LARGE).SerializeToString()
    large = upload_pb2.WriteUploadRequest(data=b"\0" * ((1 << 20) + 1)).SerializeToString()
    assert found(WRITE, small + small) == []
    assert found(WRITE, small + large) == [("data", "bytes.max_len")]


def test_random_bytes_are_refused_and_never_raise_anything_else() -> None:
    """Whatever comes is either a request or a refusal."""
    chaos = random.Random(7)
    for _ in range(2000):
        raw = chaos.randbytes(chaos.choice([1, 8, 64, 70_000]))
        for reading in (WRITE, METER):
            found(reading, raw)


def test_the_path_of_a_violation_leads_to_the_element() -> None:
    """Elements of lists are told by their index."""
    reading = reading_of(audio_pb2.UpdateAudioRequest)
    request = audio_pb2.UpdateAudioRequest(name=f"audio/{'0' * 64}", tags=["fine", "x" * 999])
    assert ("tags[1]", "string.max_len") in found(reading, request.SerializeToString())


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(-1, 2147483647), (60, 1_000_000_000), (60, -1), (60, -2147483648)]
)
def test_a_duration_that_is_none_is_refused(seconds: int, nanos: int) -> None:
    """Nanoseconds beyond a second, or of the other sign, are no duration."""
    request = reading_pb2.SignUrlRequest(audio=f"audio/{'0' * 64}")
    request.lifetime.seconds, request.lifetime.nanos = seconds, nanos
    assert found(reading_of(request), request.SerializeToString()) == [
        ("lifetime", "well_formed_time")
    ]
