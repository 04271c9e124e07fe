"""Checks everything between a newcomer and the first sound. `chorale doctor` shows it."""

import asyncio
import json
import os
import secrets
import shutil
import sys
import time
from array import array
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2

from chorale_client import addresses, services
from chorale_client.aio import AsyncChorale
from chorale_client.errors import (
    AuthError,
    ChoraleError,
    NotFoundError,
    NotServedError,
    UnavailableError,
)

PROBE_SECONDS = 5.0
DISK_BYTES_MIN = 2 << 30  # below it PostgreSQL and the object store begin to refuse writes
CLOCK_SECONDS_MAX = 5.0  # tokens and signed URLs are dated; more than this breaks them
PACKAGES = ("chorale-client", "chorale-protos", "grpcio", "protobuf")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool | None  # None: could not be looked at, or is worth knowing and no fault
    found: str
    remedy: str = ""


async def examine(
    chorale: AsyncChorale, home_dir: Path, round_trip: bool | None = None
) -> AsyncGenerator[Finding]:
    """Looks at everything, nearest first; what needs something that is missing is left out."""
    yield _versions()
    mesh_file = home_dir / addresses.MESH_FILE
    yield _found(chorale, home_dir)
    if _in_use(chorale, mesh_file):
        for finding in _processes(mesh_file):
            yield finding
        yield _disk(home_dir)
    findings = await asyncio.gather(*(_health(chorale, name) for name in chorale.services))
    for finding in findings:
        yield finding
    if any(finding.ok and finding.check == "ingest" for finding in findings):
        finding, tier = await _identity(chorale)
        yield finding
        if round_trip or (round_trip is None and tier == "local"):
            async for finding in _round_trip(chorale):
                yield finding
        else:
            yield Finding(
                "storage",
                None,
                "not tried: it would use up an upload of yours",
                "chorale doctor --round-trip tries it",
            )


def _versions() -> Finding:
    found = [f"Python {sys.version.split()[0]}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return Finding(
                "versions", False, f"{package} is not installed", f"pip install {package}"
            )
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("versions", ok, ", ".join(found), "" if ok else "use Python 3.11 or 3.12")


def _found(chorale: AsyncChorale, home_dir: Path) -> Finding:
    found = chorale.mesh.found
    if not found:
        return Finding(
            "mesh",
            False,
            f"no endpoint given, CHORALE_ENDPOINT not set, no {home_dir / addresses.MESH_FILE}",
            "chorale up starts a mesh here; CHORALE_ENDPOINT=host:port names one elsewhere",
        )
    sources = ", ".join(sorted({address.source for address in found.values()}))
    missing = [name for name in services.SERVICES if name not in found]
    without = f"; without {', '.join(missing)}" if missing else ""
    return Finding("mesh", True, f"{len(found)} services named by {sources}{without}")


def _in_use(chorale: AsyncChorale, mesh_file: Path) -> bool:
    return any(address.source == str(mesh_file) for address in chorale.mesh.found.values())


def _processes(mesh_file: Path) -> list[Finding]:
    """Whether what mesh.json names is alive."""
    try:
        mesh = json.loads(mesh_file.read_text(encoding="utf-8"))
        pids = {"supervisor": mesh.get("pid")} | {
            name: entry.get("pid") for name, entry in mesh["services"].items()
        }
    except (OSError, ValueError, KeyError, AttributeError) as fault:
        return [Finding("processes", False, f"{mesh_file}: {fault}", "chorale up writes it anew")]
    dead = [f"{name} (pid {pid})" for name, pid in pids.items() if pid and not _alive(int(pid))]
    if dead:
        return [
            Finding(
                "processes",
                False,
                f"gone: {', '.join(dead)}",
                "chorale up starts them again; nothing that was stored is lost",
            )
        ]
    return [Finding("processes", True, f"{len(pids)} alive, supervisor pid {mesh.get('pid')}")]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, and alive
    return True


def _disk(home_dir: Path) -> Finding:
    free_bytes = shutil.disk_usage(home_dir).free
    found = f"{free_bytes / (1 << 30):.1f} GiB free for {home_dir}"
    ok = free_bytes >= DISK_BYTES_MIN
    return Finding(
        "disk",
        ok,
        found,
        "" if ok else f"free {DISK_BYTES_MIN >> 30} GiB, or move CHORALE_HOME to a larger disk",
    )


async def _health(chorale: AsyncChorale, name: str) -> Finding:
    """One service: reached, alive, ready, how fast."""
    address = chorale.mesh.found[name].target.removeprefix("dns:///")
    begun = time.perf_counter()
    request = health_pb2.HealthCheckRequest(service=services.full_name(name))
    try:
        answer = await chorale.mesh.health(name).Check(request, timeout=PROBE_SECONDS)
    except UnavailableError as error:
        return Finding(
            name,
            False,
            f"{address}: {error.message}",
            error.remedy or "chorale up, or wait until it has started",
        )
    except (NotFoundError, NotServedError):
        return Finding(
            name,
            False,
            f"{address} answers, but does not serve {name}",
            "another program has this port, or the address is another service's",
        )
    except ChoraleError as error:
        return Finding(name, False, f"{address}: {error.message}", error.remedy)
    seconds = time.perf_counter() - begun
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return Finding(
            name,
            False,
            f"{address} is {state}",
            "it starts, drains, or misses its database or object storage: see its log",
        )
    return Finding(name, True, f"{address} is {state}, {seconds * 1000:.0f} ms")


async def _identity(chorale: AsyncChorale) -> tuple[Finding, str]:
    """Whether the credentials are taken; and the tier of whom they name."""
    try:
        usage = await chorale.usage()
    except AuthError as error:
        remedy = "set CHORALE_TOKEN, CHORALE_TOKEN_FILE or CHORALE_API_KEY to valid credentials"
        return Finding("identity", False, f"{error.message} ({error.reason})", remedy), ""
    except NotServedError:
        return Finding("identity", None, "this build does not tell who you are"), ""
    except ChoraleError as error:
        return Finding("identity", False, error.message, error.remedy), ""
    return Finding("identity", True, f"{usage.principal}, tier {usage.tier}"), usage.tier


async def _round_trip(chorale: AsyncChorale) -> AsyncGenerator[Finding]:
    """A tenth of a second of noise in, out and away: ingest, database and bucket at once."""
    sound = _noise()
    begun = time.time()
    try:
        audio = await chorale.put(sound, title="chorale doctor", timeout_seconds=30)
        back = b"".join([data async for data in chorale.read_bytes(audio)])
        ended = time.time()
        await chorale.delete(audio)
    except ChoraleError as error:
        yield Finding(
            "storage",
            False,
            f"{error.message} ({error.reason or error.code})",
            error.remedy or "see the log of ingest; its database and bucket must answer",
        )
        return
    ok = back == sound
    yield Finding(
        "storage",
        ok,
        f"{len(sound)} bytes in, {'the same' if ok else 'others'} out, {ended - begun:.2f} s",
        "" if ok else "the bucket returns other bytes",
    )
    if audio.HasField("create_time"):
        there = audio.create_time.ToMilliseconds() / 1000
        skew = max(begun - there, there - ended, 0.0)
        ok = skew <= CLOCK_SECONDS_MAX
        yield Finding(
            "clock",
            ok,
            f"{skew:.1f} s apart from the server's",
            "" if ok else "set the clocks by NTP: tokens and signed URLs are dated",
        )


def _noise() -> bytes:
    """A WAV that nobody has stored before."""
    import io
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(array("h", secrets.token_bytes(1600)).tobytes())
    return file.getvalue()


def run(options: dict[str, Any], home_dir: Path, round_trip: bool | None, show: Any) -> bool:
    """Examines and shows each finding as it comes; returns whether all is well."""

    async def all_findings() -> bool:
        well = True
        async with AsyncChorale(**options) as chorale:
            async for finding in examine(chorale, home_dir, round_trip):
                show(finding)
                well = well and finding.ok is not False
        return well

    return asyncio.run(all_findings())
