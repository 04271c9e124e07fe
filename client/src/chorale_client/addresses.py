"""Where the mesh is: said by the caller, by the environment, or by `chorale up` in mesh.json."""

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chorale_client.errors import MeshNotFoundError, RequestError
from chorale_client.services import SERVICES

MESH_FILE = "mesh.json"
_SCHEME = re.compile(r"(dns|ipv4|ipv6):(//[^/]*/)?")


@dataclass(frozen=True)
class Address:
    """Where one service answers."""

    target: str
    """What gRPC dials, such as `dns:///127.0.0.1:7401`."""

    tls: bool | None
    """Whether the address says so itself (`https://`, `http://`). None: it does not say."""

    source: str
    """Who said so, for error messages and `chorale doctor`."""

    @property
    def is_local(self) -> bool:
        """Whether it cannot leave this machine."""
        if self.target.startswith("unix:"):
            return True
        hosts = _SCHEME.sub("", self.target, count=1).split(",")
        return all(_is_loopback(host.rpartition(":")[0].strip("[]")) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory in which `chorale up` keeps its state."""
    chosen = environ.get("CHORALE_HOME", "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".chorale"


def find(
    endpoint: str = "",
    addresses: Mapping[str, str] | None = None,
    *,
    home_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Address]:
    """Every service that can be found, by name. What is said first counts:

    1. `addresses` and `endpoint`, given by the caller;
    2. CHORALE_<SERVICE>_ADDRESS, then CHORALE_ENDPOINT;
    3. mesh.json in the state directory of `chorale up`.
    """
    unknown = sorted(set(addresses or {}) - set(SERVICES))
    if unknown:
        raise RequestError(
            f"There is no service {', '.join(unknown)}; the mesh has {', '.join(SERVICES)}.",
            reason="REQUEST_INVALID",
        )
    found = _given(endpoint, addresses or {})
    if not found:
        found = _from_environment(environ)
    return found or read_mesh_file(home_dir or home(environ))


def parse(text: str, source: str) -> Address:
    """Reads `host:port`, `https://host[:port]`, `host1:port,host2:port` or a gRPC target."""
    scheme, separator, rest = text.strip().partition("://")
    tls = {"https": True, "http": False}.get(scheme) if separator else None
    if separator and tls is None:
        return Address(text.strip(), None, source)  # dns:///..., unix:///..., xds:///...
    hosts = (rest if separator else text.strip()).rstrip("/")
    if hosts.startswith(("unix:", "ipv4:", "ipv6:")):
        return Address(hosts, tls, source)
    if separator and ":" not in hosts.rsplit("]", 1)[-1]:
        hosts = f"{hosts}:{443 if tls else 80}"
    name, _, port = hosts.rpartition(":")
    if not name or not port.isdigit():
        raise RequestError(
            f"{source} says {text!r}; an address is host:port, such as 127.0.0.1:7401.",
            reason="REQUEST_INVALID",
        )
    target = f"ipv4:{hosts}" if "," in hosts else f"dns:///{hosts}"
    return Address(target, tls, source)


def read_mesh_file(home_dir: Path) -> dict[str, Address]:
    """What `chorale up` wrote. Empty when it wrote nothing."""
    path = home_dir / MESH_FILE
    try:
        mesh = json.loads(path.read_text(encoding="utf-8"))
        services = {name: str(entry["address"]) for name, entry in mesh["services"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise MeshNotFoundError(
            f"{path} cannot be read as the address book of a mesh: {fault}. "
            "Stop the mesh, delete the file and run `chorale up` again.",
            reason="MESH_NOT_FOUND",
            metadata={"path": str(path)},
        ) from fault
    return {name: parse(text, str(path)) for name, text in services.items()}


def _given(endpoint: str, addresses: Mapping[str, str]) -> dict[str, Address]:
    found = {name: parse(endpoint, "endpoint") for name in SERVICES} if endpoint else {}
    return found | {name: parse(text, f"addresses[{name!r}]") for name, text in addresses.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Address]:
    endpoint = environ.get("CHORALE_ENDPOINT", "")
    found = {name: parse(endpoint, "CHORALE_ENDPOINT") for name in SERVICES} if endpoint else {}
    for name in SERVICES:
        variable = f"CHORALE_{name.upper()}_ADDRESS"
        if environ.get(variable):
            found[name] = parse(environ[variable], variable)
    return found


def missing(service: str, found: Mapping[str, Address], home_dir: Path) -> MeshNotFoundError:
    """The error of a service that could not be found, and what to do about it."""
    where = f"CHORALE_{service.upper()}_ADDRESS"
    known = f"Known are {', '.join(sorted(found))}. " if found else ""
    remedy = f"chorale up{f' --only {service},...' if found else ''}"
    return MeshNotFoundError(
        f"Nothing says where {service} is: no endpoint was given, CHORALE_ENDPOINT and {where} "
        f"are not set, and {home_dir / MESH_FILE} does not name it. {known}"
        f"Start a mesh on this machine with `{remedy}`, or set CHORALE_ENDPOINT.",
        reason="MESH_NOT_FOUND",
        metadata={"service": service, "remedy": remedy},
    )
