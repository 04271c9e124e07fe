"""Services, above all ingest, each alone on storage of its own, for benchmarks."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc, upload_pb2
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres
from grpc_health.v1 import health_pb2, health_pb2_grpc

CHUNK_BYTES = 1 << 20
OPTIONS = (("grpc.max_receive_message_length", 4 << 20),)


@dataclass(frozen=True)
class Ingest:
    """A running ingest."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """CPU used by the service, what decoders are born from, and decoders that ended."""
        service = psutil.Process(self.pid)
        spent = service.cpu_times().user + service.cpu_times().system
        for child in service.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent += times.user + times.system + times.children_user + times.children_system
        return float(spent)


@contextmanager
def storage(folder: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL and S3, as the environment that points a service at them."""
    with EmbeddedPostgres(folder / "postgres") as sql, EmbeddedObjects(folder / "objects") as s3:
        yield {
            "CHORALE_DATABASE_URL": sql.url,
            "CHORALE_OBJECTS_ENDPOINT": s3.endpoint,
            "CHORALE_OBJECTS_ACCESS_KEY": s3.access_key,
            "CHORALE_OBJECTS_SECRET_KEY": s3.secret_key,
        }


@contextmanager
def service(name: str, folder: Path, environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A service in a process of its own, until the block ends: its address and process."""
    announce = folder / f"announce-{uuid.uuid4().hex}.json"
    plain = {key: value for key, value in os.environ.items() if not key.startswith("CHORALE_")}
    told = {"CHORALE_LOG_LEVEL": "error", **environ, "CHORALE_ANNOUNCE_FILE": str(announce)}
    process = subprocess.Popen([sys.executable, "-m", f"chorale_{name}"], env={**plain, **told})
    try:
        yield _serving(name, announce, process), process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def ingest(folder: Path, environ: dict[str, str]) -> Iterator[Ingest]:
    """Ingest, until the block ends."""
    with service("ingest", folder, environ) as (address, pid):
        yield Ingest(address, pid)


@contextmanager
def ingest_alone(**environ: str) -> Iterator[Ingest]:
    """Ingest and its storage, until the block ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with storage(folder) as pointed, ingest(folder, {**pointed, **environ}) as running:
            yield running


def stub_of(channel: grpc.aio.Channel) -> Any:
    """The generated stub, whose types do not know of aio."""
    return ingest_service_pb2_grpc.IngestServiceStub(channel)


async def store(stub: Any, data: bytes, file_name: str = "", **call: Any) -> audio_pb2.Audio:
    """Upload a whole file."""
    start = upload_pb2.StartUploadRequest(
        size_bytes=len(data), request_id=str(uuid.uuid4()), file_name=file_name
    )
    name = (await stub.StartUpload(start, **call)).upload.name

    async def requests() -> AsyncIterator[upload_pb2.WriteUploadRequest]:
        for offset in range(0, len(data), CHUNK_BYTES):
            yield upload_pb2.WriteUploadRequest(
                upload=name, offset_bytes=offset, data=data[offset : offset + CHUNK_BYTES]
            )
        yield upload_pb2.WriteUploadRequest(upload=name, offset_bytes=len(data), finish=True)

    audio: audio_pb2.Audio = (await stub.WriteUpload(requests(), timeout=1800, **call)).audio
    return audio


def _serving(name: str, announce: Path, process: "subprocess.Popen[bytes]") -> str:
    while not announce.exists():
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode} before it served")
        time.sleep(0.05)
    address = str(json.loads(announce.read_text())["address"])
    wanted = health_pb2.HealthCheckRequest(service=f"chorale.{name}.v1.{name.title()}Service")
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while stub.Check(wanted).status != health_pb2.HealthCheckResponse.SERVING:
            time.sleep(0.05)
    return address
