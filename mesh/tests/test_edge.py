"""The edge, asked by curl, by gRPC and by the Node client: the real mesh behind a real Envoy."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc, reading_pb2
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("edge")]

SDK = Path(__file__).resolve().parents[2] / "sdk" / "typescript"
BIN = Path(sys.executable).parent

Curl = Callable[..., str]


@pytest.fixture(scope="module")
def mesh(make_mesh: Callable[..., Any]) -> Any:
    """A running mesh with an edge."""
    pytest.importorskip("envoy", reason="NOT MEASURED: the edge extra is not installed")
    return make_mesh("--only", "ingest,analysis,mastering", "--edge").start()


@pytest.fixture(scope="module")
def edge(mesh: Any) -> str:
    """The address of that edge."""
    return str(mesh.told["edge"]["address"])


@pytest.fixture
def curl(edge: str) -> Curl:
    """Runs curl against a path of the edge and returns what it printed."""
    if shutil.which("curl") is None:
        pytest.skip("NOT MEASURED: curl is not installed")

    def run(path: str, *arguments: str, output: str = "-") -> str:
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "60", "-o", output, *arguments, f"http://{edge}{path}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def song(make_wav: Callable[..., bytes], tmp_path: Path) -> Path:
    """A file of 5.3 MB: more than any buffer on the way."""
    path = tmp_path / "song.wav"
    path.write_bytes(make_wav(seconds=30, seed=uuid.uuid4().int % 2**32))
    return path


@pytest.fixture
def channel(edge: str) -> Iterator[grpc.Channel]:
    """Plain gRPC to the edge."""
    with grpc.insecure_channel(edge) as line:
        yield line


def stored(curl: Curl, song: Path) -> str:
    """Uploads with curl and returns the audio's name."""
    answer = json.loads(curl("/v1/audio?file_name=song.wav", "--data-binary", f"@{song}"))
    return str(answer["audio"]["name"])


def test_a_picture_is_a_file_over_rest(curl: Curl, song: Path, tmp_path: Path) -> None:
    """It opens as what its type says, and a header says what made it."""
    path = f"/v1/analysis/{stored(curl, song)}:picture?kind=PICTURE_KIND_WAVEFORM&width_pixels=64"
    curl(path, "-D", str(tmp_path / "headers"), output=str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n")
    headers = (tmp_path / "headers").read_text().splitlines()
    told = dict(line.split(": ", 1) for line in headers if ": " in line)
    assert told["content-type"] == "image/png"
    assert json.loads(told["chorale-provenance"])["engineUsed"] == "chorale"


def test_curl_uploads_and_downloads_byte_for_byte(curl: Curl, song: Path, tmp_path: Path) -> None:
    """What `curl --data-binary` sends, `curl -o` gets back."""
    name = stored(curl, song)
    assert name == f"audio/{hashlib.sha256(song.read_bytes()).hexdigest()}"
    curl(f"/v1/{name}:download", output=str(tmp_path / "back.wav"))
    assert (tmp_path / "back.wav").read_bytes() == song.read_bytes()


def test_an_upload_of_unknown_length_streams_through(curl: Curl, song: Path) -> None:
    """`curl -T -` sends chunks: nothing on the way asks for the length or keeps the whole."""
    chunked = ("-T", str(song), "-X", "POST", "-H", "transfer-encoding: chunked")
    answer = json.loads(curl("/v1/audio?file_name=song.wav", *chunked))
    assert answer["audio"]["sizeBytes"] == str(song.stat().st_size)


def test_a_stream_comes_as_lines_of_json_while_it_happens(
    curl: Curl, song: Path, edge: str
) -> None:
    """Progress arrives line by line before the work has ended, and the end comes last."""
    name = stored(curl, song)
    order = json.dumps({"requestId": str(uuid.uuid4())})
    operation = json.loads(curl(f"/v1/mastering/{name}:measureLoudness", "-d", order))["name"]
    watch = ["curl", "-sSN", "--max-time", "120", f"http://{edge}/v1/mastering/{operation}:watch"]
    arrivals: list[float] = []
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            arrivals.append(time.monotonic())
            lines.append(json.loads(line))
    assert [line["event"]["sequence"] for line in lines[:-1]] == [
        str(number) for number in range(1, len(lines))
    ]
    assert lines[-1]["operation"]["done"] is True
    assert "integratedLufs" in lines[-1]["operation"]["response"]["loudness"]
    assert arrivals[-1] - arrivals[0] > 0.02


def test_an_error_of_a_service_is_json_with_its_reason(curl: Curl) -> None:
    """Code, message and ErrorInfo come through, under the matching HTTP status."""
    path = f"/v1/audio/{'0' * 64}"
    answer = curl(path, "-w", "\n%{http_code}").rsplit("\n", 1)
    error = json.loads(answer[0])
    assert answer[1] == "404"
    assert error["code"] == 5
    assert {detail.get("reason") for detail in error["details"]} >= {"AUDIO_NOT_FOUND"}


@pytest.mark.parametrize(
    ("path", "arguments", "status", "code"),
    [
        ("/v1/nothing", (), 404, 5),
        ("/v1/generation/engines", (), 404, 5),
        ("/v1/audio?no_such_field=1", (), 400, 3),
        ("/v1/audio:import", ("-d", "{not json"), 400, 3),
        ("/v1/audio", ("-H", "origin: https://elsewhere.example"), 403, 7),
        ("/v1/audio", ("-H", "host: elsewhere.example"), 403, 7),
    ],
    ids=[
        "unknown path",
        "absent service",
        "unknown field",
        "bad JSON",
        "foreign page",
        "foreign name",
    ],
)
def test_an_error_of_the_edge_itself_is_json_too(
    curl: Curl, path: str, arguments: tuple[str, ...], status: int, code: int
) -> None:
    """Whoever answers, an error has a code and a message; foreign pages are kept out."""
    body, _, found = curl(path, *arguments, "-w", "\n%{http_code}").rpartition("\n")
    assert int(found) == status
    error = json.loads(body)
    assert error["code"] == code
    assert error["message"]


def test_a_local_page_may_call(curl: Curl) -> None:
    """A browser's preflight from a page on this machine is answered, and so is the call."""
    origin = ("-H", "origin: http://localhost:5173")
    asked = ("-X", "OPTIONS", "-H", "access-control-request-method: POST", "-D", "-")
    preflight = curl("/chorale.ingest.v1.IngestService/GetAudio", *origin, *asked)
    assert " 200 OK" in preflight
    assert "access-control-allow-origin: http://localhost:5173" in preflight
    assert "access-control-allow-origin: http://localhost:5173" in curl(
        "/v1/audio", *origin, "-D", "-"
    )


def test_health_is_told_over_http(curl: Curl) -> None:
    """/healthz says 200 while every service is well."""
    assert curl("/healthz", "-w", "%{http_code}") == "200"


def test_plain_grpc_passes_with_codes_and_deadlines(
    channel: grpc.Channel, curl: Curl, song: Path
) -> None:
    """The same calls, unary and streaming, through the same port; errors keep their codes."""
    name = stored(curl, song)
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    pieces = stub.ReadBytes(reading_pb2.ReadBytesRequest(audio=name), timeout=30)
    assert b"".join(piece.data for piece in pieces) == song.read_bytes()
    with pytest.raises(grpc.RpcError) as missing:
        stub.GetAudio(audio_pb2.GetAudioRequest(name=f"audio/{'0' * 64}"), timeout=10)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    watched = health_pb2_grpc.HealthStub(channel).Watch(
        health_pb2.HealthCheckRequest(),
        metadata=[("chorale-service", "ingest")],
        timeout=0.5,
    )
    with pytest.raises(grpc.RpcError) as late:  # a watch never ends by itself
        list(watched)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_nobody_acts_for_another_through_the_edge(
    channel: grpc.Channel, curl: Curl, song: Path
) -> None:
    """The header by which services act for a user is taken off at the door."""
    name = stored(curl, song)
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    answer = stub.GetAudio(
        audio_pb2.GetAudioRequest(name=name),
        metadata=[("chorale-on-behalf-of", "somebody-else")],
        timeout=10,
    )
    assert answer.audio.name == name


def test_what_every_service_serves_is_told_apart_by_a_header(channel: grpc.Channel) -> None:
    """Health and operations of the service named in `chorale-service`."""
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("ingest", "mastering"):
        metadata = [("chorale-service", service)]
        full = f"chorale.{service}.v1.{service.capitalize()}Service"
        question = health_pb2.HealthCheckRequest(service=full)
        answer = health.Check(question, metadata=metadata, timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as missing:
        operations_pb2_grpc.OperationsStub(channel).GetOperation(
            operations_pb2.GetOperationRequest(name=f"operations/{uuid.uuid4()}"),
            metadata=metadata,
            timeout=10,
        )
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_shared_call_without_the_header_says_what_is_missing(channel: grpc.Channel) -> None:
    """The answer names the header instead of asking some service or other."""
    with pytest.raises(grpc.RpcError) as refused:
        operations_pb2_grpc.OperationsStub(channel).GetOperation(
            operations_pb2.GetOperationRequest(name=f"operations/{uuid.uuid4()}"), timeout=10
        )
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "chorale-service" in str(refused.value.details())


def test_the_node_client_works_over_grpc_and_grpc_web(edge: str) -> None:
    """The TypeScript client's own tests pass against this mesh."""
    if shutil.which("npm") is None:
        pytest.skip("NOT MEASURED: Node is not installed")
    environ = os.environ | {"CHORALE_EDGE": f"http://{edge}"}
    environ["PATH"] = f"{BIN}{os.pathsep}{environ['PATH']}"
    if not (SDK / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--silent"], cwd=SDK, env=environ, check=True)
    for script in ("build", "test"):
        done = subprocess.run(
            ["npm", "run", "--silent", script],
            cwd=SDK,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_killed_edge_comes_back(mesh: Any, curl: Curl, eventually: Callable[..., None]) -> None:
    """kill -9 of Envoy: it answers again at the same address."""
    before = mesh.pids()["edge"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: mesh.pids()["edge"] != before, 30)
    assert curl("/healthz", "-w", "%{http_code}") == "200"


def test_a_killed_service_is_away_for_a_moment_only(
    mesh: Any, curl: Curl, eventually: Callable[..., None]
) -> None:
    """While a service is down the edge says UNAVAILABLE in JSON; then it serves again."""
    before = mesh.pids()["mastering"]
    os.kill(before, signal.SIGKILL)
    answer = json.loads(curl("/v1/mastering/engines"))
    assert "engines" in answer or answer["code"] == 14
    eventually(lambda: mesh.pids()["mastering"] != before, 30)
    eventually(lambda: "engines" in json.loads(curl("/v1/mastering/engines")), 10)
