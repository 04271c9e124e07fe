"""A real ingest in a process of its own, for tests of the services that read named audio."""

import io
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import soundfile
from chorale.ingest.v1 import audio_pb2, ingest_service_pb2_grpc, upload_pb2
from chorale_mesh.objects import EmbeddedObjects
from google.api import httpbody_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from signals import RATE_HZ, Signal

START_SECONDS_MAX = 60.0
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Ingest:
    """A running ingest, and what other services need to stand beside it."""

    address: str
    database_url: str
    objects: EmbeddedObjects
    bucket: str
    process: "subprocess.Popen[bytes]"

    def settings(self) -> dict[str, Any]:
        """Rows by which another service's settings name the same database and bucket."""
        return {
            "ingest_address": self.address,
            "database_url": self.database_url,
            "objects_endpoint": self.objects.endpoint,
            "objects_access_key": self.objects.access_key,
            "objects_secret_key": self.objects.secret_key,
            "objects_bucket": self.bucket,
        }

    def put(
        self, signal: Signal, rate_hz: int = RATE_HZ, subtype: str = "FLOAT"
    ) -> audio_pb2.Audio:
        """Stores a signal as a WAV file and returns its description."""
        file = io.BytesIO()
        soundfile.write(file, signal, rate_hz, subtype=subtype, format="WAV")
        with grpc.insecure_channel(self.address) as channel:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            audio: audio_pb2.Audio = stub.PutAudio(_chunks(file.getvalue()), timeout=60).audio
        return audio


@contextmanager
def standing(postgres_url: str, objects: EmbeddedObjects, folder: Path) -> Iterator[Ingest]:
    """Runs ingest on a database of its own until the block ends."""
    name = f"standing_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    bucket = name.replace("_", "-")
    environment = {
        "CHORALE_DATABASE_URL": url,
        "CHORALE_OBJECTS_ENDPOINT": objects.endpoint,
        "CHORALE_OBJECTS_ACCESS_KEY": objects.access_key,
        "CHORALE_OBJECTS_SECRET_KEY": objects.secret_key,
        "CHORALE_OBJECTS_BUCKET": bucket,
    }
    with serving("chorale_ingest", environment, folder) as (address, process):
        yield Ingest(address, url, objects, bucket, process)


@contextmanager
def serving(
    module: str, environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Runs a service in a process of its own until the block ends; yields its address."""
    announce, log = folder / "announced.json", folder / "service.log"
    told = {"CHORALE_ADDRESS": "127.0.0.1:0", "CHORALE_ANNOUNCE_FILE": str(announce)}
    process = _start(module, {**environment, **told}, log)
    try:
        yield _ready(process, announce, log), process
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def _start(module: str, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _ready(process: "subprocess.Popen[bytes]", announce: Path, log: Path) -> str:
    """Waits until its health says SERVING; returns the address."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        if not announce.exists():
            continue
        address: str = json.loads(announce.read_text())["address"]
        with grpc.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return address
    raise RuntimeError(f"The service did not start:\n{log.read_text()[-4000:]}")


def _chunks(data: bytes) -> Iterator[upload_pb2.PutAudioRequest]:
    for start in range(0, len(data), _CHUNK_BYTES):
        body = httpbody_pb2.HttpBody(data=data[start : start + _CHUNK_BYTES])
        yield upload_pb2.PutAudioRequest(file_name="signal.wav", body=body)
