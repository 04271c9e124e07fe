"""Writes the edge's Envoy configuration into the chart: the mesh's own, fitted to a cluster.

What a laptop's edge does with a call, the cluster's does too: routes, transcoding, bounds and
error bodies are those of chorale_mesh.edge_config. What differs is named below.

python tools/edge.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chorale_client.services import SERVICES
from chorale_mesh import edge_config, edge_routes
from google.protobuf import descriptor_pb2

FOLDER = Path(__file__).resolve().parents[1] / "deploy/helm/chorale/files/edge"
PORT = 8080
_SECRETS = "/run/chorale"
_DESCRIPTORS = "/etc/chorale-edge/chorale.binpb"
_TYPE = "type.googleapis.com/envoy.extensions"

Config = dict[str, Any]


def fitted() -> tuple[Config, bytes]:
    """The configuration with RELEASE, ORIGINS and RATE for the chart to fill in; descriptors."""
    image = edge_routes.load_image()
    addresses = {name: f"@RELEASE@-{name}:7400" for name in SERVICES}
    config = edge_config.bootstrap(addresses, image, PORT)
    config["node"] = {"id": "edge", "cluster": "chorale"}  # or it reads no secrets from files
    config["admin"]["address"]["pipe"]["path"] = "/tmp/admin.sock"
    (listener,) = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["address"] = "0.0.0.0"
    _open_to_callers(listener)
    for cluster in config["static_resources"]["clusters"]:
        _find_by_name(cluster)
    return config, _descriptors(image)


def _descriptors(image: descriptor_pb2.FileDescriptorSet) -> bytes:
    return image.SerializeToString(deterministic=True)


def _manager(listener: Config) -> Config:
    (chain,) = listener["filter_chains"]
    manager: Config = chain["filters"][0]["typed_config"]
    return manager


def _open_to_callers(listener: Config) -> None:
    """Any host, origins by value, a bound of calls each second, descriptors from their file."""
    manager = _manager(listener)
    host = manager["route_config"]["virtual_hosts"][0]
    host["domains"] = ["*"]
    host["request_headers_to_remove"] = ["chorale-on-behalf-of", "chorale-on-behalf-of-tier"]
    cors = host["typed_per_filter_config"]["envoy.filters.http.cors"]
    cors["allow_origin_string_match"] = "@ORIGINS@"
    # The first route refuses pages of other origins on a mesh that asks nobody's name. Here
    # everyone has to say who they are, and CORS holds pages of other origins back.
    assert host["routes"][0]["match"]["headers"][0]["name"] == "origin"
    host["routes"] = host["routes"][1:]
    manager["route_config"]["virtual_hosts"] = [host]
    for each in manager["http_filters"]:
        if each["name"].endswith("grpc_json_transcoder"):
            del each["typed_config"]["proto_descriptor_bin"]
            each["typed_config"]["proto_descriptor"] = _DESCRIPTORS
        if each["name"].endswith("health_check"):
            bounds = each["typed_config"]["cluster_min_healthy_percentages"]
            bounds.update({name: {"value": 1} for name in bounds})  # of a service's pods
    # Behind CORS, so that a browser may read the refusal.
    place = [each["name"] for each in manager["http_filters"]].index("envoy.filters.http.cors")
    manager["http_filters"].insert(place + 1, _rate_limit())


def _rate_limit() -> Config:
    everything = {"numerator": 100, "denominator": "HUNDRED"}
    return {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{_TYPE}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "edge",
            "token_bucket": {
                "max_tokens": "@RATE@",
                "tokens_per_fill": "@RATE@",
                "fill_interval": "1s",
            },
            "filter_enabled": {"default_value": everything},
            "filter_enforced": {"default_value": everything},
            "rate_limited_as_resource_exhausted": True,
        },
    }


def _find_by_name(cluster: Config) -> None:
    """Every pod by the headless Service's name, over TLS with a certificate of the edge's own."""
    cluster["type"] = "STRICT_DNS"
    cluster["dns_refresh_rate"] = "5s"
    cluster["ignore_health_on_host_removal"] = True
    name = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    cluster["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": name["socket_address"]["address"],
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [_watched("certificate")],
                "combined_validation_context": {
                    "default_validation_context": {
                        "match_typed_subject_alt_names": [
                            {
                                "san_type": "DNS",
                                "matcher": {"exact": name["socket_address"]["address"]},
                            }
                        ]
                    },
                    "validation_context_sds_secret_config": _watched("authority"),
                },
            },
        },
    }


def _watched(name: str) -> Config:
    path = f"/etc/chorale-edge/{name}.json"
    return {"name": name, "sds_config": {"path_config_source": {"path": path}}}


def secrets() -> dict[str, Config]:
    """The files through which Envoy reads certificates again when they rotate."""
    directory = {"path": _SECRETS}
    chain, key, ca = ({"filename": f"{_SECRETS}/{end}"} for end in ("tls.crt", "tls.key", "ca.crt"))
    certificate = {"certificate_chain": chain, "private_key": key, "watched_directory": directory}
    authority = {"trusted_ca": ca, "watched_directory": directory}
    kinds = {
        "certificate": {"tls_certificate": certificate},
        "authority": {"validation_context": authority},
    }
    kind = f"{_TYPE}.transport_sockets.tls.v3.Secret"
    return {
        name: {"resources": [{"@type": kind, "name": name, **held}]} for name, held in kinds.items()
    }


def files() -> dict[str, bytes]:
    """What lies in the chart, by name."""
    config, descriptors = fitted()
    texts = {"envoy": config, **secrets()}
    made = {f"{name}.json": (json.dumps(text, indent=1) + "\n") for name, text in texts.items()}
    return {name: text.encode() for name, text in made.items()} | {"chorale.binpb": descriptors}


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
