"""What is to run: the services that are installed and asked for, their ports, their settings."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil

from chorale_mesh.errors import (
    MeshError,
    PackageMissingError,
    PortTakenError,
    SettingUnknownError,
)
from chorale_mesh.ports import LOOPBACK, free_port, is_free

# In the order in which they depend on one another; the ports are part of the documentation.
SERVICE_PORTS = {
    "ingest": 7401,
    "analysis": 7402,
    "fingerprint": 7403,
    "mastering": 7404,
    "generation": 7405,
}
METRICS_OFFSET = 100
EDGE_PORT = 7480
BUCKET = "chorale"


class ObjectsUrlError(MeshError):
    """An object storage URL that cannot be used."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return (
            f"The object storage URL {self.found}. It reads "
            "http(s)://KEY:SECRET@HOST[:PORT][/BUCKET]; the keys may also come from "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )


def user_cache() -> Path:
    """The user's own cache, by the XDG convention."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "chorale"


@dataclass(frozen=True)
class Options:
    """What the person asked for."""

    state: Path
    only: Sequence[str] = ()
    objects_url: str = ""
    database_url: str = ""
    edge: bool = False
    free_ports: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of services by name; `mastering.log_level` is for one, `log_level` for all."""
    cache: Path = field(default_factory=user_cache)
    """Where compiled code is kept: one place for every mesh, so that only the first waits."""


@dataclass(frozen=True)
class ServicePlan:
    """One service to run."""

    name: str
    port: int
    metrics_port: int
    rows: frozenset[str]
    """The settings it has; one it has not would make it refuse to start."""

    @property
    def address(self) -> str:
        """Where it will answer."""
        return f"{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class ObjectStorage:
    """An S3 server and how to use it."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str = BUCKET
    secure: bool = False
    directory: str = ""
    """Where it keeps its bytes, when that is on this machine."""


def installed_services() -> list[str]:
    """Those of the five services whose packages are installed here."""
    return [name for name in SERVICE_PORTS if _is_installed(name)]


def plan_services(options: Options) -> list[ServicePlan]:
    """Chooses the services and their ports, or says what is in the way."""
    names = _chosen(options.only)
    plans = []
    for name in names:
        port = free_port() if options.free_ports else SERVICE_PORTS[name]
        metrics = free_port() if options.free_ports else port + METRICS_OFFSET
        plans.append(ServicePlan(name, port, metrics, _rows(name)))
    for plan in plans:
        require_free(plan.port, plan.name)
        require_free(plan.metrics_port, f"the metrics of {plan.name}")
    _check_settings(options.settings, plans)
    return plans


def settings_for(plan: ServicePlan, options: Options) -> dict[str, str]:
    """The settings of the person that this service has."""
    general = {name: text for name, text in options.settings.items() if name in plan.rows}
    prefix = f"{plan.name}."
    own = {
        name.removeprefix(prefix): text
        for name, text in options.settings.items()
        if name.startswith(prefix)
    }
    return general | own


def parse_objects_url(url: str, environ: Mapping[str, str] = os.environ) -> ObjectStorage:
    """Reads http(s)://KEY:SECRET@HOST[:PORT][/BUCKET]."""
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ObjectsUrlError(f"{shown!r} has no http(s) scheme or no host")
    access_key = unquote(parts.username or "") or environ.get("AWS_ACCESS_KEY_ID", "")
    secret_key = unquote(parts.password or "") or environ.get("AWS_SECRET_ACCESS_KEY", "")
    if not (access_key and secret_key):
        raise ObjectsUrlError(f"{shown!r} comes without keys")
    secure = parts.scheme == "https"
    return ObjectStorage(
        endpoint=f"{parts.hostname}:{parts.port or (443 if secure else 80)}",
        access_key=access_key,
        secret_key=secret_key,
        bucket=parts.path.strip("/") or BUCKET,
        secure=secure,
    )


def require_free(port: int, user: str) -> None:
    """Refuses a port that another program listens on, and names that program if it can."""
    if not is_free(port):
        raise PortTakenError(user, port, _holder(port))


def _chosen(only: Sequence[str]) -> list[str]:
    unknown = [name for name in only if name not in SERVICE_PORTS]
    if unknown:
        raise PackageMissingError(unknown, f"The services are {', '.join(SERVICE_PORTS)}.")
    names = [name for name in SERVICE_PORTS if name in only] if only else installed_services()
    absent = [f"chorale-{name}" for name in names if not _is_installed(name)]
    if absent or not names:
        asked = " ".join(names) or "ingest"
        remedy = f'Set them up from a checkout: make setup SERVICES="{asked}"'
        raise PackageMissingError(absent or ["every service"], remedy)
    return names


def _is_installed(name: str) -> bool:
    try:
        return find_spec(f"chorale_{name}.__main__") is not None
    except ModuleNotFoundError:
        return False


def _rows(name: str) -> frozenset[str]:
    """The settings of a service. Its settings module is a dataclass and imports no music."""
    settings = importlib.import_module(f"chorale_{name}.settings").Settings
    return frozenset(field.name for field in dataclasses.fields(settings))


def _check_settings(settings: Mapping[str, str], plans: Sequence[ServicePlan]) -> None:
    known = {row for plan in plans for row in plan.rows}
    known |= {f"{plan.name}.{row}" for plan in plans for row in plan.rows}
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise SettingUnknownError(name, near[0] if near else "")


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
                process = psutil.Process(connection.pid)
                return f"process {process.pid} ({' '.join(process.cmdline()[:4])[:80]})"
    except (psutil.Error, ValueError):
        pass  # whose it is may be hidden from us
    return "another program"
