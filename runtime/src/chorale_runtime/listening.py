"""Binding addresses: which may be bound, with which options, and what to say when one is taken."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence

import grpc

from chorale_runtime.settings import ServerSettings

# Clients may ping this often without being taken for a flood.
_PING_INTERVAL_MIN_MS = 5_000
_KEEPALIVE_TIMEOUT_MS = 10_000
_METADATA_BYTES_MAX = 16 * 1024
# Of each stream, ahead of what its servicer has asked for. Half of it costs a quarter of the
# speed of uploads in chunks of 256 KiB; twice as much gains nothing.
_UNREAD_BYTES_MAX = 512 * 1024
# What gRPC itself refuses, it refuses with a bare status. It gets a bound well over ours, and only
# guards memory: what lies between the two is refused by the interceptor, which says what to do.
_HARD_LIMIT_FACTOR = 4


class AddressRefused(Exception):
    """An address cannot, or must not, be bound."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, why)
        self.address, self.why = address, why

    def __str__(self) -> str:
        return f"{self.address} cannot be served: {self.why}"


class AddressInUse(AddressRefused):
    """Another process listens there."""


def split(address: str) -> tuple[str, int]:
    """Splits `host:port`; an IPv6 host stands in brackets."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise AddressRefused(address, "an address is host:port, such as 127.0.0.1:7401.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check(settings: ServerSettings) -> None:
    """Refuses an address that others can reach while nobody has to say who they are."""
    host, _ = split(settings.address)
    if settings.authenticates or is_loopback(host):
        return
    raise AddressRefused(
        settings.address,
        "without authentication only loopback addresses are. Set CHORALE_JWT_KEYS_FILE,"
        " CHORALE_API_KEYS or CHORALE_TLS_CLIENT_CA_FILE, or serve 127.0.0.1.",
    )


def bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """Binds a gRPC server and returns the address with the port it got."""
    host, port = split(address)
    refuse_taken(host, port, address)
    try:
        if credentials is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise AddressRefused(address, f"{error}.") from error
    return f"{_bracketed(host)}:{bound}"


def refuse_taken(host: str, port: int, address: str) -> None:
    """Tries the address with a plain socket, which says precisely what is wrong with it."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                address, "another process listens there. Stop it, or choose another port."
            ) from error
        raise AddressRefused(address, f"{error.strerror or error}.") from error


def options(settings: ServerSettings) -> Sequence[tuple[str, int]]:
    """The channel arguments of a server."""
    age_ms = int(settings.max_connection_age_seconds * 1000)
    aging = (
        ("grpc.max_connection_age_ms", age_ms),
        # As long as a call may last: age alone never cuts one off.
        ("grpc.max_connection_age_grace_ms", int(settings.max_deadline_seconds * 1000)),
    )
    return (
        # A second server on the same port would share its calls in silence.
        ("grpc.so_reuseport", 0),
        # A fixed window, where gRPC would let it grow with the line: memory has a bound.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _UNREAD_BYTES_MAX),
        ("grpc.max_receive_message_length", settings.max_message_bytes * _HARD_LIMIT_FACTOR),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.keepalive_time_ms", int(settings.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_MIN_MS),
        *(aging if age_ms else ()),
    )


def is_loopback(host: str) -> bool:
    """Whether what this host names cannot leave this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
