"""G12: what a large upload costs the server in memory, beside a small one.

Starts a mesh's storage and ingest alone, streams files of two sizes into it, each to a fresh
process, and compares the peak resident memory of the process tree (service, decoders).

    python -m bench.ingest_memory             # 64 MiB against 2 GiB
    python -m bench.ingest_memory 64 512      # MiB
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from chorale.ingest.v1 import ingest_service_pb2_grpc, upload_pb2
from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.wave import head
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres
from grpc_health.v1 import health_pb2, health_pb2_grpc

CHUNK_BYTES = 1 << 20
GOAL = 1.10
RATE_HZ = 192_000
LAYOUT = Layout(Encoding.S16LE, 8)  # wide and fast: 2 GiB stay under the longest audio allowed


@dataclass(frozen=True)
class Cost:
    """What one upload cost."""

    size_mib: int
    seconds: float
    service_mib: float
    tree_mib: float


def head_of(frame_count: int) -> bytes:
    """The head of a WAV file of that many frames."""
    return head(8 * LAYOUT.encoding.sample_bytes, False, LAYOUT.channel_count, RATE_HZ, frame_count)


def sound(size_mib: int) -> tuple[int, int]:
    """Frames and bytes of a WAV file of about that size."""
    frame_count = (size_mib << 20) // LAYOUT.frame_bytes
    return frame_count, frame_count * LAYOUT.frame_bytes + len(head_of(frame_count))


async def chunks(size_mib: int) -> AsyncIterator[bytes]:
    """The file, a MiB at a time: noise that no storage can compress or share."""
    frame_count, _ = sound(size_mib)
    yield head_of(frame_count)
    block = np.random.default_rng(size_mib).integers(0, 1 << 16, CHUNK_BYTES // 2, dtype=np.uint16)
    left = frame_count * LAYOUT.frame_bytes
    while left > 0:
        block += 1  # another chunk each time, at the cost of an addition
        yield block.tobytes()[:left]
        left -= CHUNK_BYTES


async def upload(address: str, size_mib: int) -> float:
    """Upload one file; returns the seconds it took."""
    begun = time.perf_counter()
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = ingest_service_pb2_grpc.IngestServiceStub(channel)
        _, size_bytes = sound(size_mib)
        start = upload_pb2.StartUploadRequest(size_bytes=size_bytes, request_id=str(uuid.uuid4()))
        name = (await stub.StartUpload(start)).upload.name
        digest = hashlib.sha256()

        async def requests() -> AsyncIterator[upload_pb2.WriteUploadRequest]:
            offset = 0
            async for data in chunks(size_mib):
                digest.update(data)
                yield upload_pb2.WriteUploadRequest(upload=name, offset_bytes=offset, data=data)
                offset += len(data)
            yield upload_pb2.WriteUploadRequest(offset_bytes=offset, finish=True)

        reply = await stub.WriteUpload(requests(), timeout=1800)
    if reply.audio.name != f"audio/{digest.hexdigest()}":
        raise SystemExit(f"The digest is wrong: {reply}")
    return time.perf_counter() - begun


def measure(environ: dict[str, str], folder: Path, size_mib: int) -> Cost:
    """Start a fresh service, upload one file, and watch its memory."""
    announce = folder / f"announce-{size_mib}.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "chorale_ingest"],
        env={**environ, "CHORALE_ANNOUNCE_FILE": str(announce), "CHORALE_LOG_LEVEL": "error"},
    )
    try:
        address = serving(announce)
        seconds, tree_mib = asyncio.run(watched_upload(address, process.pid, size_mib))
        service_mib = _status_mib(process.pid, "VmHWM")
    finally:
        process.terminate()
        process.wait()
    return Cost(size_mib, seconds, service_mib, max(tree_mib, service_mib))


def serving(announce: Path) -> str:
    """Wait until the service serves; returns its address."""
    while not announce.exists():
        time.sleep(0.05)
    address = str(json.loads(announce.read_text())["address"])
    wanted = health_pb2.HealthCheckRequest(service="chorale.ingest.v1.IngestService")
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while stub.Check(wanted).status != health_pb2.HealthCheckResponse.SERVING:
            time.sleep(0.05)
    return address


async def watched_upload(address: str, pid: int, size_mib: int) -> tuple[float, float]:
    """Upload a file while its server's memory is watched: seconds, peak in MiB."""
    watching = asyncio.create_task(_peaks(pid))
    seconds = await upload(address, size_mib)
    watching.cancel()
    return seconds, await watching


async def _peaks(pid: int) -> float:
    """The peak of what the process and those below it hold, shared pages counted once."""
    peak = 0.0
    try:
        while True:
            pids = [pid, *_below(pid)]
            peak = max(peak, sum(_pss_mib(each) for each in pids))
            await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        return peak


def _below(parent: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent:
            found += [int(name), *_below(int(name))]
    return found


def _pss_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def _status_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main(sizes_mib: list[int]) -> int:
    """Measure, print, and fail if the goal is missed."""
    costs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            EmbeddedPostgres(folder / "postgres") as postgres,
            EmbeddedObjects(folder / "objects") as objects,
        ):
            environ = {
                **{key: value for key, value in os.environ.items() if "CHORALE" not in key},
                "CHORALE_DATABASE_URL": postgres.url,
                "CHORALE_OBJECTS_ENDPOINT": objects.endpoint,
                "CHORALE_OBJECTS_ACCESS_KEY": objects.access_key,
                "CHORALE_OBJECTS_SECRET_KEY": objects.secret_key,
            }
            for size_mib in sizes_mib:
                cost = measure(environ, folder, size_mib)
                costs.append(cost)
                print(
                    f"{cost.size_mib:6d} MiB  {cost.seconds:6.1f} s"
                    f"  {cost.size_mib / cost.seconds:6.1f} MiB/s"
                    f"  service peak RSS {cost.service_mib:6.1f} MiB"
                    f"  with decoders (PSS) {cost.tree_mib:6.1f} MiB"
                )
    ratio = costs[-1].service_mib / costs[0].service_mib
    print(f"G12 peak RSS ratio {ratio:.3f} (goal <= {GOAL})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main([int(size) for size in sys.argv[1:]] or [64, 2048]))
