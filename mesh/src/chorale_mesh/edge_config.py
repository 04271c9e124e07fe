"""The configuration of Envoy: REST with JSON, gRPC-Web and plain gRPC on one port."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chorale_client.services import SERVICES, full_name
from google.protobuf import descriptor_pb2

from chorale_mesh import edge_routes
from chorale_mesh.edge_routes import PASSED_SERVICES, SHARED_SERVICES, RestRoute
from chorale_mesh.ports import LOOPBACK

Config = dict[str, Any]

# Which service a call on shared names is for; the path says it in REST.
SERVICE_HEADER = "chorale-service"
HEALTH_PATH = "/healthz"

_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
_UPSTREAMS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Pages of other origins could otherwise act through a person's browser on a mesh that asks
# nobody's name; and a name of theirs that resolves to this machine is not one of these hosts.
_LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
_LOCAL_HOSTS = ["localhost", LOOPBACK, "[::1]"]
_ALLOWED_HEADERS = (
    "authorization,content-type,x-api-key,x-grpc-web,grpc-timeout,x-user-agent,traceparent,"
    f"connect-protocol-version,{SERVICE_HEADER}"
)
_EXPOSED_HEADERS = "grpc-status,grpc-message,grpc-status-details-bin,traceparent,retry-after"
# Code numbers of google.rpc.Code for what Envoy itself answers.
_CODES = {400: 3, 403: 7, 404: 5, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14, 504: 4}
_INTERNAL = 13
_MANY = 100_000  # calls at once: the services bound themselves
_WINDOW_BYTES = 1 << 20


def bootstrap(
    addresses: Mapping[str, str], image: descriptor_pb2.FileDescriptorSet, port: int
) -> Config:
    """The whole configuration, for the services at `addresses`; `image` is changed to suit."""
    names = list(addresses)
    edge_routes.give_operations_to_services(image, names)
    return {
        # A socket in the folder where it runs: nobody but its user may ask it to quit.
        "admin": {"address": {"pipe": {"path": "admin.sock", "mode": 0o600}}},
        "static_resources": {
            "listeners": [_listener(names, image, port)],
            "clusters": [_cluster(name, address) for name, address in addresses.items()],
        },
    }


def _listener(names: Sequence[str], image: descriptor_pb2.FileDescriptorSet, port: int) -> Config:
    manager = {
        "@type": f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "strip_any_host_port": True,
        "stream_idle_timeout": "0s",  # a stream that waits for news is not dead
        "request_headers_timeout": "10s",
        "http2_protocol_options": {
            "initial_stream_window_size": _WINDOW_BYTES,
            "initial_connection_window_size": 4 * _WINDOW_BYTES,
        },
        "local_reply_config": {"mappers": list(_error_bodies())},
        "http_filters": [
            *_health_filter(names),
            _filter("cors", "cors.v3.Cors"),
            _filter("grpc_web", "grpc_web.v3.GrpcWeb"),
            _transcoder(names, image),
            _filter("router", "router.v3.Router"),
        ],
        "route_config": {"virtual_hosts": [_virtual_host(names, image), _FOREIGN_HOST]},
    }
    return {
        "name": "edge",
        "address": _socket(f"{LOOPBACK}:{port}"),
        "per_connection_buffer_limit_bytes": _WINDOW_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def _virtual_host(names: Sequence[str], image: descriptor_pb2.FileDescriptorSet) -> Config:
    return {
        "name": "chorale",
        "domains": _LOCAL_HOSTS,
        # Only services may act for others, and services do not come through the edge.
        "request_headers_to_remove": ["chorale-on-behalf-of"],
        "typed_per_filter_config": {
            "envoy.filters.http.cors": {
                "@type": f"{_FILTERS}.cors.v3.CorsPolicy",
                "allow_origin_string_match": [{"safe_regex": {"regex": _LOCAL_ORIGIN}}],
                "allow_methods": "GET,POST,PATCH,PUT,DELETE,OPTIONS",
                "allow_headers": _ALLOWED_HEADERS,
                "expose_headers": _EXPOSED_HEADERS,
                "max_age": "3600",
            }
        },
        "routes": [
            _foreign_origin_route(),
            _preflight_route(names[0]),
            *(_rest_route(route) for route in edge_routes.rest_routes(image, names)),
            *_grpc_routes(image, names),
            *_absent_routes(names),
            _answer(
                {"prefix": "/"},
                404,
                "There is no such path. The contract's google.api.http annotations list them all; "
                f"operations are /v1/SERVICE/operations, and gRPC calls on them name the service "
                f"in the metadata {SERVICE_HEADER}.",
            ),
        ],
    }


def _foreign_origin_route() -> Config:
    header = {
        "name": "origin",
        "string_match": {"safe_regex": {"regex": _LOCAL_ORIGIN}},
        "invert_match": True,
    }
    present = {"name": "origin", "present_match": True}
    text = "Pages of this origin may not call a mesh on this machine."
    return _answer({"prefix": "/", "headers": [present, header]}, 403, text)


def _preflight_route(name: str) -> Config:
    """What a browser asks before it calls. The CORS filter answers, but only on a real route."""
    method = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    return {"match": {"prefix": "/", "headers": [method]}, "route": {"cluster": name}}


def _rest_route(route: RestRoute) -> Config:
    action: Config = {"cluster": route.service, "timeout": "0s"}  # the service has the deadline
    if route.may_retry:
        action["retry_policy"] = {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host."
                        "previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
        }
    method = {"name": ":method", "string_match": {"exact": route.verb}}
    match = {"safe_regex": {"regex": route.path_regex}, "headers": [method]}
    return {"match": match, "route": action}


def _grpc_routes(image: descriptor_pb2.FileDescriptorSet, names: Sequence[str]) -> Iterator[Config]:
    """By service name; what every service serves goes by SERVICE_HEADER."""
    for full, owner in edge_routes.grpc_services(image, names):
        yield _pass({"prefix": f"/{full}/"}, owner)
    for full in (*SHARED_SERVICES, *PASSED_SERVICES):
        for name in names:
            header = {"name": SERVICE_HEADER, "string_match": {"exact": name}}
            yield _pass({"prefix": f"/{full}/", "headers": [header]}, name)


def _absent_routes(names: Sequence[str]) -> Iterator[Config]:
    """Calls for services of the mesh that were not started."""
    for name in SERVICES:
        if name not in names:
            text = f"The service {name} does not run behind this edge. `chorale up` starts it."
            yield _answer({"prefix": f"/chorale.{name}."}, 404, text)
            yield _answer({"prefix": f"/v1/{name}/"}, 404, text)


def _pass(match: Config, name: str) -> Config:
    # No retries here: an upload would have to be kept whole to be sent again.
    # Nor a deadline: the service and the caller have it, and Envoy's end of a stream is INTERNAL.
    limit = {"max_stream_duration": "0s"}
    return {
        "match": match,
        "route": {"cluster": name, "timeout": "0s", "max_stream_duration": limit},
    }


def _answer(match: Config, status: int, text: str) -> Config:
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": text}},
    }


_FOREIGN_HOST = {
    "name": "foreign",
    "domains": ["*"],
    "routes": [
        _answer({"prefix": "/"}, 403, "This edge is called by localhost or 127.0.0.1 only.")
    ],
}


def _transcoder(names: Sequence[str], image: descriptor_pb2.FileDescriptorSet) -> Config:
    return _filter(
        "grpc_json_transcoder",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor_bin=base64.b64encode(image.SerializeToString()).decode(),
        services=[full for full, _ in edge_routes.grpc_services(image, names)] + [*SHARED_SERVICES],
        match_incoming_request_route=True,
        convert_grpc_status=True,
        case_insensitive_enum_parsing=True,
        request_validation_options={
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        print_options={"always_print_primitive_fields": True, "stream_newline_delimited": True},
    )


def _health_filter(names: Sequence[str]) -> Iterator[Config]:
    """200 while every service is well."""
    yield _filter(
        "health_check",
        "health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
        cluster_min_healthy_percentages={name: {"value": 100} for name in names},
    )


def _error_bodies() -> Iterator[Config]:
    """What Envoy itself answers to REST callers looks like what the services answer."""
    content_type = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    otherwise = {"invert_match": True, "treat_missing_header_as_empty": True}
    not_grpc = {"header_filter": {"header": {**content_type, **otherwise}}}
    # Once the transcoder has had it a request says application/grpc, but was not.
    transcoded = {
        "header_filter": {"header": {"name": "x-envoy-original-method", "present_match": True}}
    }
    is_rest = {"or_filter": {"filters": [not_grpc, transcoded]}}
    conditions = [("EQ", status, code) for status, code in _CODES.items()]
    for operator, status, code in [*conditions, ("GE", 400, _INTERNAL)]:
        value = {"default_value": status, "runtime_key": "unset"}
        is_status = {"status_code_filter": {"comparison": {"op": operator, "value": value}}}
        yield _body({"and_filter": {"filters": [is_status, is_rest]}}, code)


def _body(condition: Config, code: int) -> Config:
    json_format = {"code": code, "message": "%LOCAL_REPLY_BODY%"}
    return {"filter": condition, "body_format_override": {"json_format": json_format}}


def _cluster(name: str, address: str) -> Config:
    http2 = {
        "max_concurrent_streams": _MANY,
        "initial_stream_window_size": _WINDOW_BYTES,
        "initial_connection_window_size": 16 * _WINDOW_BYTES,
    }
    bounds = {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _UPSTREAMS,
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "circuit_breakers": {"thresholds": [bounds]},
        # Without the intervals for quiet times a service without callers looks dead for minutes.
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "no_traffic_healthy_interval": "1s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {"service_name": full_name(name)},
            }
        ],
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(address)}}]}],
        },
    }


def _filter(name: str, kind: str, **fields: object) -> Config:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_FILTERS}.{kind}", **fields},
    }


def _socket(address: str) -> Config:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
