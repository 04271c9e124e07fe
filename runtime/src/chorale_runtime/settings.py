"""Settings are rows: a name, a default, a unit and a sentence of help.

A service's settings are one frozen dataclass. Each row is read from the environment
variable `CHORALE_<NAME>` once, when the process starts; a variable of that prefix that
no row claims is refused, so that a typing error cannot silently mean the default.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

PREFIX = "CHORALE_"
_FILE_SUFFIX = "_FILE"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_MEBIBYTE = 1 << 20

T = TypeVar("T")
S = TypeVar("S", bound="ServerSettings")


class SettingsRefused(Exception):
    """The environment does not make valid settings."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


def setting(
    default: T,
    *,
    help: str,  # noqa: A002 - the word every command line uses
    unit: str = "",
    secret: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
) -> T:
    """Makes one row of a settings dataclass; secret rows are never printed."""
    row = {
        "help": help,
        "unit": unit,
        "secret": secret,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(choices),
    }
    return dataclasses.field(default=default, repr=not secret, metadata=row)


@dataclass(frozen=True)
class ServerSettings:
    """The rows that every service has."""

    address: str = setting(
        "127.0.0.1:0",
        help="Where gRPC is served. Only loopback addresses are bound without authentication.",
    )
    metrics_address: str = setting(
        "127.0.0.1:0", help="Where `/metrics`, `/livez` and `/readyz` are served. Empty: nowhere."
    )
    announce_file: str = setting(
        "", help="A file that is told the bound addresses and the process, as JSON."
    )
    database_url: str = setting("", secret=True, help="PostgreSQL, `postgresql://...`.")
    objects_endpoint: str = setting("", help="The S3 API, `host:port`.")
    objects_public_endpoint: str = setting(
        "", help="The S3 API as callers reach it, for signed URLs. Empty: `objects_endpoint`."
    )
    objects_access_key: str = setting("", secret=True, help="The S3 access key.")
    objects_secret_key: str = setting("", secret=True, help="The S3 secret key.")
    objects_bucket: str = setting("chorale", help="The bucket that the mesh shares.")
    objects_secure: bool = setting(False, help="Whether the S3 API is spoken over TLS.")
    objects_directory: str = setting(
        "",
        help="Where the S3 server keeps its bytes, when that is on this machine: writes are "
        "refused while its disk is nearly full. Empty: elsewhere.",
    )

    tls_cert_file: str = setting(
        "", help="The server's certificate chain, PEM. Read again when it changes."
    )
    tls_key_file: str = setting("", help="The private key of `tls_cert_file`, PEM.")
    tls_client_ca_file: str = setting(
        "", help="Who may sign client certificates, PEM. Set: every client must show one."
    )
    tls_services: str = setting(
        "spiffe://chorale/*,*.chorale",
        help="Which certificate names act as services of the mesh: patterns, comma between.",
    )
    peer_ca_file: str = setting(
        "", help="Who may sign the certificates of other services, PEM. Set: calls use TLS."
    )
    service_token: str = setting(
        "",
        secret=True,
        help="The bearer token this service shows to others, without mTLS. Who shows this very "
        "one is a service too, so that all of a mesh may share one.",
    )
    jwt_keys_file: str = setting(
        "", help="Public keys that sign bearer tokens: a JWKS or PEM file, read when it changes."
    )
    jwt_issuer: str = setting("", help="The `iss` a token must carry. Empty: any.")
    jwt_audience: str = setting("", help="The `aud` a token must carry. Empty: any.")
    api_keys: bool = setting(
        False, help="Whether `x-api-key` is accepted. Keys live in the database (`chorale-keys`)."
    )

    max_concurrent_streams: int = setting(
        1000, help="Calls in flight on one connection.", unit="calls", minimum=1, maximum=100_000
    )
    max_concurrent_calls: int = setting(
        2000, help="Calls in flight in this process.", unit="calls", minimum=1, maximum=100_000
    )
    max_message_bytes: int = setting(
        _MEBIBYTE + 64 * 1024,
        help="The largest message received: 1 MiB of sound and its envelope.",
        unit="bytes",
        minimum=64 * 1024,
        maximum=64 * _MEBIBYTE,
    )
    default_deadline_seconds: float = setting(
        60.0,
        help="The deadline of a unary call that brings none.",
        unit="seconds",
        minimum=0.001,
        maximum=86_400,
    )
    max_deadline_seconds: float = setting(
        3600.0,
        help="The longest a call may last, whatever it asks; streams resume.",
        unit="seconds",
        minimum=0.001,
        maximum=86_400,
    )
    endpoint_pause_seconds: float = setting(
        0.0,
        help="How long a draining server goes on accepting while load balancers notice.",
        unit="seconds",
        minimum=0,
        maximum=300,
    )
    drain_seconds: float = setting(
        25.0,
        help="How long calls in flight may still run after SIGTERM.",
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    max_connection_age_seconds: float = setting(
        1800.0,
        help="When a connection is asked to reconnect, so that new replicas get work. 0: never.",
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    keepalive_seconds: float = setting(
        30.0,
        help="How often a silent connection is pinged.",
        unit="seconds",
        minimum=1,
        maximum=7200,
    )
    otlp_endpoint: str = setting(
        "", help="An OpenTelemetry collector, `http://host:4317` (gRPC). Empty: no traces leave."
    )
    trace_ratio: float = setting(
        1.0, help="The share of traces begun here that is exported.", minimum=0, maximum=1
    )
    log_level: str = setting(
        "info", help="The least level logged.", choices=("debug", "info", "warning", "error")
    )

    @property
    def authenticates(self) -> bool:
        """Whether any way to authenticate callers is configured."""
        return bool(self.jwt_keys_file or self.api_keys or self.tls_client_ca_file)


@dataclass(frozen=True)
class DeviceSettings(ServerSettings):
    """The rows of a service whose long work may be a device's."""

    device_works: tuple[str, ...] = setting(
        (),
        help="RPCs whose operations are for devices, as patterns: `Train*,Generate*`. They wait in "
        "the queue `SERVICE.cuda`. All processes of the service are told alike.",
    )
    work_queues: tuple[str, ...] = setting(
        (),
        help="Queues of operations this process works on, as patterns; `!*.cuda` leaves one to "
        "others. Empty: all.",
    )


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """Reads settings from the environment, or refuses with every problem at once."""
    rows = {field.name: field for field in dataclasses.fields(kind)}
    types = typing.get_type_hints(kind)
    problems: list[str] = []
    values: dict[str, Any] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        name, from_file = _row_of(variable, rows)
        if name is None:
            problems.append(_unknown(variable, rows))
            continue
        if name in values:
            problems.append(f"{PREFIX}{name.upper()} is set both directly and by file; set one.")
            continue
        try:
            text = _from_file(environ[variable]) if from_file else environ[variable]
            values[name] = _parsed(text, types[name], rows[name].metadata)
        except (ValueError, OSError) as error:
            problems.append(f"{variable} {error}")
    if problems:
        raise SettingsRefused(problems)
    return kind(**values)


def table(kind: type[ServerSettings]) -> str:
    """Renders the rows as a Markdown table, for `--settings` and for READMEs."""
    lines = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        shown = "" if field.default in ("", None) else f"`{_text(field.default)}`"
        meaning = field.metadata.get("help", "")
        if field.metadata.get("secret"):
            meaning += " Secret; may come from a file named by the same variable and `_FILE`."
        unit = field.metadata.get("unit", "")
        lines.append(f"| `{PREFIX}{field.name.upper()}` | {shown} | {unit} | {meaning} |")
    return "\n".join(lines)


def environment(settings: ServerSettings) -> Iterator[tuple[str, str]]:
    """Yields the variables that would make these settings again: what differs from defaults."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            yield f"{PREFIX}{field.name.upper()}", _text(value)


def _row_of(variable: str, rows: Mapping[str, dataclasses.Field[Any]]) -> tuple[str | None, bool]:
    name = variable.removeprefix(PREFIX).lower()
    if name in rows:
        return name, False
    name = variable.removeprefix(PREFIX).removesuffix(_FILE_SUFFIX).lower()
    if variable.endswith(_FILE_SUFFIX) and name in rows and rows[name].metadata.get("secret"):
        return name, True
    return None, False


def _unknown(variable: str, rows: Mapping[str, Any]) -> str:
    known = [f"{PREFIX}{name.upper()}" for name in rows]
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else " --settings lists what there is."
    return f"{variable} is not a setting of this service.{hint}"


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise OSError(f"names the file {path}, which cannot be read: {error.strerror}.") from error


def _parsed(text: str, kind: Any, row: Mapping[str, Any]) -> Any:
    value = _converted(text, kind)
    if row.get("choices") and value not in row["choices"]:
        raise ValueError(f"is {text!r}; it must be one of {', '.join(row['choices'])}.")
    for bound, sign, word in (("minimum", 1, "at least"), ("maximum", -1, "at most")):
        limit = row.get(bound)
        # Written so that NaN, which compares with nothing, is refused too.
        if limit is not None and not sign * value >= sign * limit:
            raise ValueError(f"is {text}; it must be {word} {limit:g} {row['unit']}".rstrip() + ".")
    return value


def _converted(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"is {text!r}; it must be true or false.")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            needed = "a whole number" if kind is int else "a number"
            raise ValueError(f"is {text!r}; it must be {needed}.") from None
    if kind is str:
        return text
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    raise TypeError(f"Settings of type {kind} are not supported.")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
