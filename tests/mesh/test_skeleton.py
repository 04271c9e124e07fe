"""The walking skeleton: one song through every service, with its trace, metrics and errors."""

import hashlib
import io
import secrets
import urllib.request
import uuid

import grpc
import numpy as np
import pytest
import soundfile
from chorale.mastering.v1 import loudness_pb2
from chorale_client import Chorale, NotFoundError, RequestError
from collector import CollectedSpan, Collector
from google.longrunning import operations_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from running_mesh import RunningMesh

RATE_HZ = 48000


@pytest.fixture(scope="module")
def tone() -> bytes:
    """20 s of the tone that reads -23 LUFS: 1 kHz at -23 dBFS in both channels (EBU Tech 3341)."""
    time = np.arange(20 * RATE_HZ) / RATE_HZ
    one = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time)
    file = io.BytesIO()
    soundfile.write(file, np.stack([one, one], axis=1), RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def test_a_song_goes_through_the_mesh(chorale: Chorale, tone: bytes) -> None:
    """Bytes in, the same bytes and the same frames out, and the loudness that the EBU names."""
    audio = chorale.put(tone, file_name="tone.wav")
    assert audio.name == f"audio/{hashlib.sha256(tone).hexdigest()}"
    assert b"".join(chorale.read_bytes(audio)) == tone

    pcm = b"".join(chunk.pcm for chunk in chorale.read_frames(audio))
    frames = np.frombuffer(pcm, dtype="<f4")
    expected, _ = soundfile.read(io.BytesIO(tone), dtype="float32")
    np.testing.assert_array_equal(frames.reshape(-1, 2), expected)

    request = loudness_pb2.MeasureLoudnessRequest(audio=audio.name, request_id=str(uuid.uuid4()))
    operation = chorale.start(
        chorale.mastering.MeasureLoudness, request, loudness_pb2.MeasureLoudnessResponse
    )
    events = list(operation)
    measured = operation.result(timeout_seconds=60)
    assert measured.loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert measured.provenance.engine_used


def test_every_service_answers_health_reflection_and_engines(
    mesh: RunningMesh, chorale: Chorale
) -> None:
    """What is started is SERVING, tells its contract, and names its engines."""
    for service in chorale.services:
        full_name = f"chorale.{service}.v1.{service.capitalize()}Service"
        with grpc.insecure_channel(mesh.address(service)) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", full_name):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            told = next(stub.ServerReflectionInfo(asked, timeout=5))
            listed = {one.name for one in told.list_services_response.service}
            assert full_name in listed
            operations = operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name
            assert operations in listed
        engines = chorale.engines(service)
        assert engines
        assert all(engine.available or engine.remedy for engine in engines)


def test_one_trace_tells_the_whole_way(
    mesh: RunningMesh, chorale: Chorale, collector: Collector, tone: bytes
) -> None:
    """Call, queued job and the call that the job makes are spans of one trace, child of parent."""
    audio = chorale.put(tone, file_name="tone.wav")
    trace_id = secrets.token_hex(16)
    with grpc.insecure_channel(mesh.address("mastering")) as channel:
        start = channel.unary_unary(
            "/chorale.mastering.v1.MasteringService/MeasureLoudness",
            request_serializer=loudness_pb2.MeasureLoudnessRequest.SerializeToString,
            response_deserializer=operations_pb2.Operation.FromString,
        )
        request = loudness_pb2.MeasureLoudnessRequest(
            audio=audio.name, request_id=str(uuid.uuid4())
        )
        parent = (("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01"),)
        started = start(request, metadata=parent, timeout=10)
    chorale.operations.get(started.name, "mastering").result(timeout_seconds=60)

    spans = collector.wait_for(
        trace_id, lambda spans: any(len(_way(span, spans)) > 2 for span in spans)
    )
    ways = [_way(span, spans) for span in spans]
    call, asked = "MasteringService/MeasureLoudness", "IngestService/GetAudio"
    longest = max(ways, key=len)
    assert longest[0].endswith(asked), ways
    assert longest[-1].endswith(call)
    assert len(longest) >= 3, ways  # the job stands between the two calls


def _way(span: CollectedSpan, spans: list[CollectedSpan]) -> list[str]:
    """The names from a span up to the call that began it all."""
    above = {one.span_id: one for one in spans}
    way: list[str] = []
    step: CollectedSpan | None = span
    while step is not None:
        way.append(step.name)
        step = above.get(step.parent_id)
    return way


def test_every_service_tells_its_metrics(mesh: RunningMesh, chorale: Chorale) -> None:
    """The side port tells calls by method and code, under the service's own name."""
    for service, told in mesh.record()["services"].items():
        chorale.engines(service)
        with urllib.request.urlopen(f"http://{told['metrics']}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert f"chorale_{service}_calls_total" in text or f"chorale_{service}_" in text
        assert "ListEngines" in text


def test_errors_have_names(chorale: Chorale) -> None:
    """What is not there is AUDIO_NOT_FOUND; what breaks the contract is REQUEST_INVALID."""
    absent = f"audio/{'0' * 64}"
    with pytest.raises(NotFoundError) as not_found:
        chorale.info(absent)
    assert not_found.value.reason == "AUDIO_NOT_FOUND"
    assert not_found.value.metadata["audio"] == absent
    with pytest.raises(RequestError) as invalid:
        chorale.info("song.wav")
    assert invalid.value.reason == "REQUEST_INVALID"
    assert invalid.value.violations
